package network

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/pintle-dev/pintle/sdk/network"
)

const (
	podInterface = "eth0"
	networkName  = "pintle"
)

// attacher runs the CNI plugins for one node's pod ranges.
type attacher struct {
	cni  *libcni.CNIConfig
	pods *libcni.NetworkConfigList
	lo   *libcni.NetworkConfigList
	dir  string
}

// newAttacher checks that the CNI plugins are there and makes the network's configuration.
// Address leases and libcni's cache are kept below dir.
func newAttacher(settings Settings, cidrs []string, dir string) (*attacher, error) {
	for _, name := range []string{"bridge", "host-local", "loopback"} {
		if err := findPlugin(settings.CNIBinDirs, name); err != nil {
			return nil, err
		}
	}
	ranges := make([][]map[string]string, 0, len(cidrs))
	for _, c := range cidrs {
		ranges = append(ranges, []map[string]string{{"subnet": c}})
	}
	bridge := map[string]any{
		"type": "bridge", "bridge": settings.Bridge, "isDefaultGateway": true, "hairpinMode": true,
		"ipam": map[string]any{"type": "host-local", "ranges": ranges, "dataDir": filepath.Join(dir, "leases")},
	}
	if settings.MTU > 0 {
		bridge["mtu"] = settings.MTU
	}
	pods, err := configList(networkName, bridge)
	if err != nil {
		return nil, err
	}
	lo, err := configList(networkName+"-loopback", map[string]any{"type": "loopback"})
	if err != nil {
		return nil, err
	}
	return &attacher{
		cni:  libcni.NewCNIConfigWithCacheDir(settings.CNIBinDirs, filepath.Join(dir, "cache"), nil),
		pods: pods, lo: lo, dir: dir,
	}, nil
}

func findPlugin(dirs []string, name string) error {
	for _, d := range dirs {
		if fi, err := os.Stat(filepath.Join(d, name)); err == nil && fi.Mode().IsRegular() {
			return nil
		}
	}
	return fmt.Errorf("CNI plugin %q is in none of %v: install containernetworking-plugins or set settings.cniBinDirs", name, dirs)
}

func configList(name string, plugin map[string]any) (*libcni.NetworkConfigList, error) {
	// 1.0.0 is what the plugins of current distributions speak.
	raw, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": name, "plugins": []any{plugin}})
	if err != nil {
		return nil, fmt.Errorf("encoding CNI network %s: %w", name, err)
	}
	l, err := libcni.ConfListFromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("CNI network %s: %w", name, err)
	}
	return l, nil
}

func runtimeConf(pod network.Pod, ifname string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: pod.SandboxID, NetNS: pod.NetNS, IfName: ifname,
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", pod.Namespace}, {"K8S_POD_NAME", pod.Name}, {"K8S_POD_UID", pod.UID},
			{"K8S_POD_INFRA_CONTAINER_ID", pod.SandboxID},
		},
	}
}

// attach is idempotent: a pod that is attached already gets the result of then.
func (a *attacher) attach(ctx context.Context, pod network.Pod) (network.Result, error) {
	rt := runtimeConf(pod, podInterface)
	if cached, err := a.cni.GetNetworkListCachedResult(a.pods, rt); err == nil && cached != nil {
		if err := a.cni.CheckNetworkList(ctx, a.pods, rt); err == nil {
			return podResult(cached)
		}
		// What is left of an attachment that broke halfway goes first.
		if err := a.cni.DelNetworkList(ctx, a.pods, rt); err != nil {
			return network.Result{}, fmt.Errorf("clearing a broken attachment of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	if _, err := a.cni.AddNetworkList(ctx, a.lo, runtimeConf(pod, "lo")); err != nil {
		return network.Result{}, fmt.Errorf("bringing up loopback of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	res, err := a.cni.AddNetworkList(ctx, a.pods, rt)
	if err != nil {
		// CNI asks for DEL after a failed ADD, so that no address stays leased.
		if derr := a.cni.DelNetworkList(ctx, a.pods, rt); derr != nil {
			return network.Result{}, fmt.Errorf("attaching pod %s/%s: %w (and undoing it: %w)", pod.Namespace, pod.Name, err, derr)
		}
		return network.Result{}, fmt.Errorf("attaching pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return podResult(res)
}

func (a *attacher) detach(ctx context.Context, pod network.Pod) error {
	if err := a.cni.DelNetworkList(ctx, a.pods, runtimeConf(pod, podInterface)); err != nil {
		return fmt.Errorf("detaching pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if err := a.cni.DelNetworkList(ctx, a.lo, runtimeConf(pod, "lo")); err != nil {
		return fmt.Errorf("detaching pod %s/%s from loopback: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (a *attacher) check(ctx context.Context, pod network.Pod) error {
	if err := a.cni.CheckNetworkList(ctx, a.pods, runtimeConf(pod, podInterface)); err != nil {
		return fmt.Errorf("checking pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func podResult(r cnitypes.Result) (network.Result, error) {
	cur, err := types100.NewResultFromResult(r)
	if err != nil {
		return network.Result{}, fmt.Errorf("reading the CNI result: %w", err)
	}
	out := network.Result{Interface: podInterface}
	for _, ip := range cur.IPs {
		out.IPs = append(out.IPs, ip.Address.IP.String())
	}
	if len(out.IPs) == 0 {
		return out, fmt.Errorf("the CNI result holds no address")
	}
	return out, nil
}
