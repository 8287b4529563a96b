// Offers GPUs that do not exist to the kubelet, the way a vendor's device plugin offers real ones:
// the kubelet counts them, hands them out, and remembers over its restarts which pod has which.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resource = "nvidia.com/gpu"
	socket   = "tunery-gpus.sock"
)

// plugin serves one kubelet; gone is closed when that one has left.
type plugin struct {
	api.UnimplementedDevicePluginServer
	count int
	gone  chan struct{}
}

func main() {
	count := flag.Int("count", 1, "how many to offer")
	flag.Parse()
	for {
		if err := offer(*count); err != nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
	}
}

// offer registers with the kubelet that runs, and returns when it has gone.
func offer(count int) error {
	kubelet, err := waitForKubelet()
	if err != nil {
		return err
	}
	defer kubelet.Close()
	// Only now: a kubelet that starts removes every socket that it finds.
	path := filepath.Join(api.DevicePluginPath, socket)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	served := &plugin{count: count, gone: make(chan struct{})}
	server := grpc.NewServer()
	defer server.Stop()
	api.RegisterDevicePluginServer(server, served)
	go server.Serve(listener)
	ours := &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource}
	if _, err := api.NewRegistrationClient(kubelet).Register(context.Background(), ours); err != nil {
		return err
	}
	log.Printf("%d %s offered", count, resource)
	<-served.gone
	return nil
}

// waitForKubelet returns a connection once somebody listens at the kubelet's socket.
func waitForKubelet() (*grpc.ClientConn, error) {
	patience := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1, MaxDelay: 100 * time.Millisecond}
	kubelet, err := grpc.NewClient("unix://"+api.KubeletSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: patience, MinConnectTimeout: time.Second}))
	if err != nil {
		return nil, err
	}
	for state := kubelet.GetState(); state != connectivity.Ready; state = kubelet.GetState() {
		kubelet.Connect()
		kubelet.WaitForStateChange(context.Background(), state)
	}
	return kubelet, nil
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch tells the list once: it does not change while this process runs.
func (p *plugin) ListAndWatch(_ *api.Empty, kubelet api.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*api.Device, p.count)
	for i := range devices {
		devices[i] = &api.Device{ID: "GPU-" + strconv.Itoa(i), Health: api.Healthy}
	}
	if err := kubelet.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-kubelet.Context().Done()
	close(p.gone)
	return nil
}

// Allocate gives a container nothing: there is no device, only its number.
func (p *plugin) Allocate(_ context.Context, wish *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for range wish.ContainerRequests {
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{})
	}
	return answer, nil
}
