package agent

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	qos "k8s.io/component-helpers/resource"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// maxHostname is what the kernel allows.
const maxHostname = 63

// hostname of a pod: its own choice, else its name.
func hostname(pod *corev1.Pod) string {
	h := pod.Spec.Hostname
	if pod.Spec.HostnameOverride != nil {
		h = *pod.Spec.HostnameOverride
	}
	if h == "" {
		h = pod.Name
	}
	if len(h) > maxHostname {
		h = strings.TrimRight(h[:maxHostname], "-.")
	}
	return h
}

func (a *Agent) sandboxConfig(pod *corev1.Pod) (driver.SandboxConfig, error) {
	cfg := driver.SandboxConfig{
		ID: newSandboxID(), Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Hostname: hostname(pod),
		HostNetwork: pod.Spec.HostNetwork, HostPID: pod.Spec.HostPID, HostIPC: pod.Spec.HostIPC,
		SharePID:     pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace,
		CgroupParent: a.podCgroup(podQOS(pod), pod.UID), LogDir: a.logDir(pod.Namespace, pod.Name, pod.UID),
	}
	if sc := pod.Spec.SecurityContext; sc != nil && len(sc.Sysctls) > 0 {
		cfg.Sysctls = map[string]string{}
		for _, s := range sc.Sysctls {
			cfg.Sysctls[s.Name] = s.Value
		}
	}
	if err := os.MkdirAll(a.volumes.PodDir(string(pod.UID)), 0o755); err != nil {
		return cfg, err
	}
	resolv, err := a.resolvConf(pod)
	if err != nil {
		return cfg, err
	}
	if err := os.WriteFile(a.podFile(pod.UID, "resolv.conf"), []byte(resolv), 0o644); err != nil {
		return cfg, fmt.Errorf("write resolv.conf: %w", err)
	}
	if err := os.WriteFile(a.podFile(pod.UID, "hostname"), []byte(cfg.Hostname+"\n"), 0o644); err != nil {
		return cfg, fmt.Errorf("write hostname: %w", err)
	}
	return cfg, nil
}

func (a *Agent) podFile(uid types.UID, name string) string {
	return filepath.Join(a.volumes.PodDir(string(uid)), name)
}

func (a *Agent) logDir(namespace, name string, uid types.UID) string {
	return filepath.Join(a.cfg.Dir, "logs", namespace+"_"+name+"_"+string(uid))
}

// writeHosts writes the pod's hosts file. It is written in place: containers have it
// mounted.
func (a *Agent) writeHosts(pod *corev1.Pod, host string, ips []string) error {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		node, err := os.ReadFile("/etc/hosts")
		if err != nil {
			return fmt.Errorf("write hosts: %w", err)
		}
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(node)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		names := host
		if pod.Spec.Subdomain != "" {
			names = fmt.Sprintf("%s.%s.%s.svc.%s\t%s", host, pod.Spec.Subdomain, pod.Namespace, a.cfg.ClusterDomain, host)
		}
		for _, ip := range ips {
			fmt.Fprintf(&b, "%s\t%s\n", ip, names)
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, al := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", al.IP, strings.Join(al.Hostnames, "\t"))
		}
	}
	if err := os.WriteFile(a.podFile(pod.UID, "hosts"), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	return nil
}

// resolvConf makes the pod's resolver configuration after its DNS policy.
func (a *Agent) resolvConf(pod *corev1.Pod) (string, error) {
	var servers, search, options []string
	policy := pod.Spec.DNSPolicy
	if policy == corev1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = corev1.DNSDefault
	}
	if policy == corev1.DNSClusterFirstWithHostNet {
		policy = corev1.DNSClusterFirst
	}
	if policy != corev1.DNSNone {
		node, err := os.ReadFile(a.cfg.ResolvConf)
		if err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("read the node's resolv.conf: %w", err)
		}
		servers, search, options = parseResolv(string(node))
		if policy != corev1.DNSDefault && len(a.cfg.ClusterDNS) > 0 {
			d := a.cfg.ClusterDomain
			servers = a.cfg.ClusterDNS
			search = append([]string{pod.Namespace + ".svc." + d, "svc." + d, d}, search...)
			options = []string{"ndots:5"}
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		servers = append(servers, c.Nameservers...)
		search = append(search, c.Searches...)
		byName := map[string]int{}
		for i, o := range options {
			name, _, _ := strings.Cut(o, ":")
			byName[name] = i
		}
		for _, o := range c.Options {
			text := o.Name
			if o.Value != nil {
				text += ":" + *o.Value
			}
			if i, ok := byName[o.Name]; ok {
				options[i] = text
			} else {
				options = append(options, text)
			}
		}
	}
	var b strings.Builder
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(unique(search), " "))
	}
	for i, s := range unique(servers) {
		if i < 3 { // resolvers ask no more
			fmt.Fprintf(&b, "nameserver %s\n", s)
		}
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String(), nil
}

func parseResolv(s string) (servers, search, options []string) {
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			servers = append(servers, f[1])
		case "search", "domain":
			search = f[1:]
		case "options":
			options = append(options, f[1:]...)
		}
	}
	return servers, search, options
}

func unique(in []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// podQOS is the class of a pod, worked out where the API server did not.
func podQOS(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	requests, limits := false, true
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				req, lim := c.Resources.Requests[r], c.Resources.Limits[r]
				if !req.IsZero() || !lim.IsZero() {
					requests = true
				}
				if lim.IsZero() || !req.IsZero() && req.Cmp(lim) != 0 {
					limits = false
				}
			}
		}
	}
	switch {
	case !requests:
		return corev1.PodQOSBestEffort
	case limits:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// podCgroup is the path of a pod's control group.
func (a *Agent) podCgroup(class corev1.PodQOSClass, uid types.UID) string {
	if class == corev1.PodQOSGuaranteed {
		return path.Join(a.cfg.CgroupRoot, "pod"+string(uid))
	}
	return path.Join(a.cfg.CgroupRoot, strings.ToLower(string(class)), "pod"+string(uid))
}

// ensurePodCgroup makes the pod's group with the limits of all its containers together.
func (a *Agent) ensurePodCgroup(pod *corev1.Pod, parent string) error {
	if a.cfg.NoCgroups {
		return nil
	}
	req := qos.PodRequests(pod, qos.PodResourcesOptions{})
	limited := map[corev1.ResourceName]bool{corev1.ResourceCPU: true, corev1.ResourceMemory: true}
	lim := qos.PodLimits(pod, qos.PodResourcesOptions{ContainerFn: func(res corev1.ResourceList, _ qos.ContainerType) {
		for r := range limited {
			if q := res[r]; q.IsZero() {
				limited[r] = false
			}
		}
	}})
	l := cgroup.Limits{CPUShares: cpuShares(req.Cpu().MilliValue())}
	if limited[corev1.ResourceCPU] {
		l.CPUQuota, l.CPUPeriod = cpuQuota(lim.Cpu().MilliValue())
	}
	if limited[corev1.ResourceMemory] {
		l.MemoryBytes = lim.Memory().Value()
	}
	return cgroup.Ensure(parent, l)
}

const cpuPeriod = 100000 // microseconds

func cpuShares(milli int64) uint64 {
	return uint64(min(max(milli*1024/1000, 2), 262144))
}

func cpuQuota(milli int64) (int64, uint64) {
	if milli == 0 {
		return 0, 0
	}
	return max(milli*cpuPeriod/1000, 1000), cpuPeriod
}

// sortedKeys of a map, for what must not depend on chance.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
