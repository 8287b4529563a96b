{{/* Values → the operator's settings (operator/settings.py). Empty ones are left to its defaults. */}}
{{- define "tunery.environment" -}}
- name: TUNERY_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: TUNERY_NAMESPACE
  value: {{ .Release.Namespace }}
{{- $tuner := .Values.tuner }}
{{- $serving := .Values.serving }}
{{- $settings := dict
  "TUNER_IMAGE" ($tuner.image | default (printf "tunery/tuner:%s" .Chart.AppVersion))
  "IMAGE_PULL_POLICY" $tuner.imagePullPolicy
  "IMAGE_PULL_SECRETS" (join "," $tuner.imagePullSecrets)
  "DEVICE" $tuner.device
  "CPU_LIMIT" $tuner.cpuLimit
  "MEMORY_GIB" ($tuner.memoryGiB | default "")
  "BACKOFF_LIMIT" (int $tuner.backoffLimit)
  "KEEP_CHECKPOINTS" $tuner.keepCheckpoints
  "LOST_NODE_S" (int .Values.lostNodeSeconds)
  "VLLM_IMAGE" $serving.vllmImage
  "PREPARE_IMAGE" $serving.prepareImage
  "IMAGE_VOLUMES" $serving.imageVolumes
  "SERVING_MEMORY_GIB" ($serving.memoryGiB | default "")
  "AUTO_PROVISIONING" .Values.autoProvisioning
  "ALLOW_HOSTS" (join "," .Values.allowHosts)
  "ALLOW_HOST_PATH" .Values.allowHostPath
  "REGISTRY_CA_CONFIG_MAP" .Values.registryCAConfigMap
  "INSECURE_REGISTRIES" (join "," .Values.insecureRegistries)
  "HUB_ENDPOINT" .Values.hubEndpoint
  "WEIGHTS_REGISTRY" .Values.weightsRegistry
  "REPLICAS" (int .Values.replicas)
  "LOG_LEVEL" .Values.logLevel
  "METRICS_PORT" (int .Values.metricsPort)
}}
{{- if .Values.webhook.enabled }}
{{- $settings = merge $settings (dict
  "WEBHOOK_NAMES" (printf "%s.%s.svc" (include "tunery.name" .) .Release.Namespace)
  "WEBHOOK_PORT" (int .Values.webhook.port)
  "WEBHOOK_CONFIGURATION" (include "tunery.clusterName" .)
  "WEBHOOK_CERTIFICATE" (.Values.webhook.certManager.enabled | ternary "/etc/tunery/webhook" "")
) }}
{{- end }}
{{- range $key, $value := $settings }}
{{- if ne (toString $value) "" }}
- name: TUNERY_{{ $key }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
