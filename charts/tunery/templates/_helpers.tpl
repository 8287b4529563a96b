{{/* The name of everything that there is one of. */}}
{{- define "tunery.name" -}}
{{- if contains "tunery" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tunery" (.Release.Name | trunc 33) -}}
{{- end -}}
{{- end -}}

{{/* Of things without a namespace: two releases in two namespaces must not share them. */}}
{{- define "tunery.clusterName" -}}
{{- if eq (include "tunery.name" .) .Release.Namespace -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "tunery.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tunery.selector" -}}
app.kubernetes.io/name: tunery
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tunery.labels" -}}
{{ include "tunery.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Annotations that a rule reads (jobs/rules/general.py); a test compares. */}}
{{- define "tunery.checkedAnnotations" -}}
['kaito.sh/performance-mode', 'kaito.sh/use-local-weights', 'kaito.sh/node-image-family', 'kaito.sh/node-class-name', 'kaito.sh/runtime', 'kaito.sh/enablelb', 'tunery.sh/together', 'tunery.sh/live-adapters']
{{- end -}}
