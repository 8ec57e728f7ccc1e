package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	"github.com/pintle-dev/pintle/runtime/downward"
	"github.com/pintle-dev/pintle/runtime/image"
	"github.com/pintle-dev/pintle/runtime/probe"
	"github.com/pintle-dev/pintle/runtime/stream"
	"github.com/pintle-dev/pintle/runtime/volume"
)

// Agent runs the pods of one node.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	client   kubernetes.Interface
	recorder record.EventRecorder
	events   record.EventBroadcaster

	runtime     *runtimeCache
	puller      *image.Puller
	prober      *probe.Prober
	objects     *objects
	volumes     *volume.Manager
	volumeLocks keyedLocks
	services    *services
	network     *nodeNetwork
	node        *nodeStatus
	imageNames  imageNames
	ends        ends
	metrics     *prometheus.Registry

	pods cache.Indexer

	mu      sync.Mutex
	workers map[types.UID]*worker
	// ended are pods that are done with but whose objects are still there.
	ended map[types.UID]bool
	runC  context.Context
	wg    sync.WaitGroup

	// listening is closed when the kubelet API is served; addr is then its address.
	listening chan struct{}
	addr      net.Addr
}

// New checks the configuration and makes an agent. It touches nothing yet.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	rc := rest.CopyConfig(cfg.Client)
	if rc.QPS == 0 {
		// The server has its own fairness; a node that starts a hundred pods must not wait
		// for itself.
		rc.QPS, rc.Burst = 200, 400
	}
	if rc.UserAgent == "" {
		rc.UserAgent = "pintle-agent"
	}
	if rc.ContentType == "" {
		rc.ContentType = "application/vnd.kubernetes.protobuf"
		rc.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("agent: Client: %w", err)
	}
	return newAgent(cfg, client), nil
}

func newAgent(cfg Config, client kubernetes.Interface) *Agent {
	a := &Agent{
		cfg: cfg, log: cfg.Logger.With("node", cfg.NodeName), client: client,
		workers: map[types.UID]*worker{}, ended: map[types.UID]bool{},
		listening: make(chan struct{}), metrics: prometheus.NewRegistry(),
	}
	a.events = record.NewBroadcaster()
	a.recorder = a.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: cfg.NodeName})
	a.puller = image.NewPuller(cfg.Driver, nil)
	a.prober = probe.New(cfg.Driver)
	a.runtime = newRuntimeCache(cfg.Driver, a.log, a.runtimeChanged, a.ends.live, func() { a.node.poke() })
	a.objects = newObjects(client, a.refreshVolumes)
	a.volumes = volume.NewManager(filepath.Join(cfg.Dir, "pods"), a.objects)
	a.volumes.Persist(volume.Persistent{Claims: a.objects, Storages: cfg.Storages, Node: cfg.NodeName})
	a.services = newServices(client)
	a.network = newNodeNetwork(a)
	a.node = newNodeStatus(a)
	a.imageNames.agent = a
	a.registerMetrics()
	return a
}

// Addr returns where the kubelet API is served, once it is.
func (a *Agent) Addr(ctx context.Context) (net.Addr, error) {
	select {
	case <-a.listening:
		return a.addr, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Run works until the context ends. Pods keep running when it returns; another Run, of
// this process or the next, takes them over as they are.
func (a *Agent) Run(ctx context.Context) error {
	for _, d := range []string{"pods", "logs", "network", "seccomp"} {
		if err := os.MkdirAll(filepath.Join(a.cfg.Dir, d), 0o755); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if !a.cfg.NoCgroups {
		if err := cgroup.Ensure(a.cfg.CgroupRoot, cgroup.Limits{}); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer a.wg.Wait()
	defer cancel()
	a.runC = ctx
	a.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: a.client.CoreV1().Events("")})
	defer a.events.Shutdown()
	failed := make(chan error, 1)
	if err := a.serve(ctx, failed); err != nil {
		return err
	}
	if err := a.runtime.refresh(ctx); err != nil {
		a.log.Warn("the container runtime does not answer; until it does the node is not ready, and its pods stay as they are", "err", err)
	}
	a.objects.start(ctx)
	a.wg.Go(func() { a.runtime.run(ctx, a.cfg.ResyncInterval) })
	a.wg.Go(func() { a.services.informer.RunWithContext(ctx) })
	a.wg.Go(func() { a.network.run(ctx) })
	node, err := a.node.register(ctx)
	if err != nil {
		return nil // the context ended first
	}
	a.network.setNode(node)
	a.wg.Go(func() { a.keepLease(ctx, node) })
	a.wg.Go(func() { a.node.run(ctx) })
	a.wg.Go(func() { a.watchNode(ctx) })
	a.services.wait(ctx)
	a.wg.Go(func() {
		// What runs must not be started again.
		if a.runtime.wait(ctx) {
			a.watchPods(ctx)
		}
	})
	a.wg.Go(func() { a.collectImages(ctx) })
	a.wg.Go(func() { a.refreshAllVolumes(ctx) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// serve begins to serve the kubelet API.
func (a *Agent) serve(ctx context.Context, failed chan<- error) error {
	if a.cfg.ListenAddress == "-" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.ListenAddress)
	if err != nil {
		return fmt.Errorf("agent: serve the kubelet API: %w", err)
	}
	port, err := listenPort(l)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a.node.port, a.addr = port, l.Addr()
	close(a.listening)
	srv := stream.New(stream.Config{
		Backend: backend{a}, Streams: a.cfg.Driver, Cert: a.cfg.ServingCert, CA: a.cfg.ClientCA,
		Allow: a.allow, Metrics: a.metrics, Plugins: a.cfg.Plugins, Log: a.log,
	})
	a.wg.Go(func() {
		if err := srv.Serve(ctx, l); err != nil {
			select {
			case failed <- fmt.Errorf("agent: serve the kubelet API: %w", err):
			default:
			}
		}
	})
	return nil
}

func (a *Agent) downwardFacts(podIPs []string) downward.Facts {
	return downward.Facts{NodeName: a.cfg.NodeName, HostIP: a.cfg.NodeIP, PodIPs: podIPs, Allocatable: a.capacity()}
}

func (a *Agent) statusFacts() StatusFacts {
	return StatusFacts{HostIP: a.cfg.NodeIP, Runtime: a.runtime.name(), ImageName: a.imageNames.name}
}

// collectImages removes unused images when the disk fills up.
func (a *Agent) collectImages(ctx context.Context) {
	c := &image.Collector{
		Images: a.cfg.Driver, High: a.cfg.ImageGCHighPercent, Low: a.cfg.ImageGCLowPercent, MinAge: 2 * time.Minute, Log: a.log,
		Usage: func() (int, error) { return image.DiskUsage(a.cfg.Dir) },
		InUse: func(ctx context.Context) (map[string]bool, error) {
			list, err := a.cfg.Driver.ListContainers(ctx)
			out := map[string]bool{}
			for _, k := range list {
				out[k.ImageID] = true
			}
			return out, err
		},
	}
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("cannot collect unused images", "err", err)
		}
	}
}

// Teardown removes from the machine all that the agent made of pods: containers,
// sandboxes, volumes, control groups, logs, and the node's network where it has one. The agent must not be running. The
// Pod objects stay.
func (a *Agent) Teardown(ctx context.Context) error {
	if err := a.runtime.refresh(ctx); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	var errs []error
	err := a.teardownNetwork(ctx, func() { errs = a.teardownSandboxes(ctx) })
	errs = append(errs, err)
	if uids, err := a.volumes.Pods(); err == nil {
		for _, uid := range uids {
			errs = append(errs, a.volumes.Abandon(uid))
		}
	}
	if !a.cfg.NoCgroups {
		errs = append(errs, cgroup.Remove(a.cfg.CgroupRoot))
	}
	for _, d := range []string{"pods", "logs", "network", "seccomp"} {
		errs = append(errs, os.RemoveAll(filepath.Join(a.cfg.Dir, d)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tear down: %w", err)
	}
	return nil
}

// teardownSandboxes removes all sandboxes and what pods have of volumes.
func (a *Agent) teardownSandboxes(ctx context.Context) (errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for uid, sandboxes := range a.runtime.all() {
		for _, sb := range sandboxes {
			wg.Go(func() {
				err := a.teardownSandbox(ctx, sb.ID)
				if err == nil {
					err = a.volumes.Abandon(string(uid))
				}
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	return errs
}

// teardownSandbox gives a network back that may be torn down as a whole already.
func (a *Agent) teardownSandbox(ctx context.Context, id string) error {
	at, err := a.loadAttachment(id)
	if err == nil && a.cfg.Network != nil {
		if err := a.cfg.Network.Detach(ctx, at.Pod); err != nil {
			a.log.Warn("cannot detach a pod from the network", "sandbox", id, "err", err)
		}
	}
	return a.cfg.Driver.RemoveSandbox(ctx, id)
}
