package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/runtime/downward"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// configInput is what a container's configuration is made of.
type configInput struct {
	pod     *corev1.Pod
	spec    *corev1.Container
	attempt int
	podIPs  []string
	paths   map[string]string
}

// containerConfig builds what the driver is told. Its errors are the user's to mend.
func (a *Agent) containerConfig(ctx context.Context, in configInput) (driver.ContainerConfig, error) {
	pod, c := in.pod, in.spec
	facts := a.downwardFacts(in.podIPs)
	vars, err := a.environment(ctx, pod, c, facts)
	if err != nil {
		return driver.ContainerConfig{}, err
	}
	lookup := vars.expander()
	cfg := driver.ContainerConfig{
		Name: c.Name, Attempt: in.attempt, Image: c.Image, Env: vars.list(), WorkingDir: c.WorkingDir,
		TTY: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce,
		LogPath: a.logPath(pod, c.Name, in.attempt),
		Labels:  map[string]string{"pod": pod.Namespace + "/" + pod.Name},
	}
	for _, s := range c.Command {
		cfg.Command = append(cfg.Command, expand(s, lookup))
	}
	for _, s := range c.Args {
		cfg.Args = append(cfg.Args, expand(s, lookup))
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		cfg.StopSignal = string(*c.Lifecycle.StopSignal)
	}
	cfg.Mounts, err = a.volumes.Mounts(pod, c, in.paths, func(s string) (string, error) {
		return expandStrict(s, lookup)
	})
	if err != nil {
		return cfg, err
	}
	own, err := a.ownMounts(pod, c, in.attempt, cfg.Mounts)
	if err != nil {
		return cfg, err
	}
	cfg.Mounts = append(cfg.Mounts, own...)
	cfg.Resources = a.resources(pod, c)
	cfg.Security = a.security(pod, c)
	if err := os.MkdirAll(filepath.Dir(cfg.LogPath), 0o755); err != nil {
		return cfg, fmt.Errorf("make log directory: %w", err)
	}
	return cfg, nil
}

func (a *Agent) logPath(pod *corev1.Pod, container string, attempt int) string {
	return filepath.Join(a.logDir(pod.Namespace, pod.Name, pod.UID), container, strconv.Itoa(attempt)+".log")
}

func (a *Agent) terminationFile(pod *corev1.Pod, container string, attempt int) string {
	return filepath.Join(a.volumes.PodDir(string(pod.UID)), "containers", container, strconv.Itoa(attempt))
}

// ownMounts are the files that the agent gives every container.
func (a *Agent) ownMounts(pod *corev1.Pod, c *corev1.Container, attempt int, taken []driver.Mount) ([]driver.Mount, error) {
	has := map[string]bool{}
	for _, m := range taken {
		has[filepath.Clean(m.ContainerPath)] = true
	}
	var out []driver.Mount
	for _, f := range []string{"hosts", "resolv.conf", "hostname"} {
		if host := a.podFile(pod.UID, f); !has["/etc/"+f] && exists(host) {
			out = append(out, driver.Mount{HostPath: host, ContainerPath: "/etc/" + f})
		}
	}
	if p := c.TerminationMessagePath; p != "" && !has[filepath.Clean(p)] {
		file := a.terminationFile(pod, c.Name, attempt)
		if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
			return nil, fmt.Errorf("make termination message file: %w", err)
		}
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			return nil, fmt.Errorf("make termination message file: %w", err)
		}
		if err := os.Chmod(file, 0o666); err != nil { // whoever runs in the container writes it
			return nil, fmt.Errorf("make termination message file: %w", err)
		}
		out = append(out, driver.Mount{HostPath: file, ContainerPath: p})
	}
	return out, nil
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

func (a *Agent) resources(pod *corev1.Pod, c *corev1.Container) driver.Resources {
	req, lim := c.Resources.Requests, c.Resources.Limits
	cpu := req.Cpu()
	if cpu.IsZero() {
		cpu = lim.Cpu()
	}
	r := driver.Resources{CPUShares: cpuShares(cpu.MilliValue()), MemoryBytes: lim.Memory().Value()}
	r.CPUQuota, r.CPUPeriod = cpuQuota(lim.Cpu().MilliValue())
	switch podQOS(pod) {
	case corev1.PodQOSGuaranteed:
		r.OOMScoreAdj = -997
	case corev1.PodQOSBestEffort:
		r.OOMScoreAdj = 1000
	default:
		// Who asks for much memory is killed later.
		r.OOMScoreAdj = 1000
		if total := a.memory(); total > 0 {
			r.OOMScoreAdj = int(1000 - 1000*req.Memory().Value()/total)
		}
		r.OOMScoreAdj = min(max(r.OOMScoreAdj, 3), 999)
	}
	return r
}

func (a *Agent) security(pod *corev1.Pod, c *corev1.Container) driver.Security {
	p := pod.Spec.SecurityContext
	if p == nil {
		p = &corev1.PodSecurityContext{}
	}
	s := c.SecurityContext
	if s == nil {
		s = &corev1.SecurityContext{}
	}
	on := func(b *bool) bool { return b != nil && *b }
	first := func(a, b *int64) *int64 {
		if a != nil {
			return a
		}
		return b
	}
	out := driver.Security{
		Privileged: on(s.Privileged), ReadOnlyRootFS: on(s.ReadOnlyRootFilesystem),
		AllowPrivilegeEscalation: s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation,
		RunAsUser:                first(s.RunAsUser, p.RunAsUser), RunAsGroup: first(s.RunAsGroup, p.RunAsGroup),
		RunAsNonRoot:       on(p.RunAsNonRoot) && s.RunAsNonRoot == nil || on(s.RunAsNonRoot),
		SupplementalGroups: append([]int64(nil), p.SupplementalGroups...),
		UnmaskedProc:       s.ProcMount != nil && *s.ProcMount == corev1.UnmaskedProcMount,
	}
	if p.FSGroup != nil {
		out.SupplementalGroups = append(out.SupplementalGroups, *p.FSGroup)
	}
	if s.Capabilities != nil {
		for _, k := range s.Capabilities.Add {
			out.AddCaps = append(out.AddCaps, string(k))
		}
		for _, k := range s.Capabilities.Drop {
			out.DropCaps = append(out.DropCaps, string(k))
		}
	}
	profile := s.SeccompProfile
	if profile == nil {
		profile = p.SeccompProfile
	}
	if profile != nil {
		out.Seccomp = string(profile.Type)
		if profile.Type == corev1.SeccompProfileTypeLocalhost && profile.LocalhostProfile != nil {
			out.Seccomp = "Localhost/" + filepath.Join(a.cfg.Dir, "seccomp", *profile.LocalhostProfile)
		}
	}
	return out
}

// variables is an environment in the order of its making; a later value replaces an
// earlier one in its place.
type variables struct {
	names  []string
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *variables) list() []string {
	out := make([]string, 0, len(v.names))
	for _, n := range v.names {
		out = append(out, n+"="+v.values[n])
	}
	return out
}

func (v *variables) expander() func(string) (string, bool) {
	return func(name string) (string, bool) {
		s, ok := v.values[name]
		return s, ok
	}
}

// environment makes a container's environment: services first, then envFrom, then env.
func (a *Agent) environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container, facts downward.Facts) (*variables, error) {
	v := &variables{values: map[string]string{}}
	if !pod.Spec.HostNetwork {
		v.set("HOSTNAME", hostname(pod))
	}
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	services := a.services.env(pod.Namespace, links)
	for _, name := range sortedKeys(services) {
		v.set(name, services[name])
	}
	for _, from := range c.EnvFrom {
		data, err := a.envSource(ctx, pod.Namespace, from)
		if err != nil {
			return nil, err
		}
		for _, k := range sortedKeys(data) {
			v.set(from.Prefix+k, data[k])
		}
	}
	lookup := v.expander()
	for _, e := range c.Env {
		value := expand(e.Value, lookup)
		if e.ValueFrom != nil {
			var ok bool
			var err error
			if value, ok, err = a.envValue(ctx, pod, c, e.ValueFrom, facts); err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		v.set(e.Name, value)
	}
	return v, nil
}

func (a *Agent) envSource(ctx context.Context, namespace string, from corev1.EnvFromSource) (map[string]string, error) {
	out := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		cm, err := a.objects.ConfigMap(ctx, namespace, from.ConfigMapRef.Name)
		if err != nil {
			return out, ignoreOptional(err, from.ConfigMapRef.Optional)
		}
		for k, s := range cm.Data {
			out[k] = s
		}
	case from.SecretRef != nil:
		s, err := a.objects.Secret(ctx, namespace, from.SecretRef.Name)
		if err != nil {
			return out, ignoreOptional(err, from.SecretRef.Optional)
		}
		for k, b := range s.Data {
			out[k] = string(b)
		}
	}
	return out, nil
}

func ignoreOptional(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// envValue resolves valueFrom; ok is false where an optional source has no such key.
func (a *Agent) envValue(ctx context.Context, pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, facts downward.Facts) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = downward.Field(pod, from.FieldRef.FieldPath, facts)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(pod, c.Name, from.ResourceFieldRef, facts)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := a.objects.ConfigMap(ctx, pod.Namespace, ref.Name)
		if err != nil {
			return "", false, ignoreOptional(err, ref.Optional)
		}
		if value, ok = cm.Data[ref.Key]; !ok && (ref.Optional == nil || !*ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return value, ok, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := a.objects.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			return "", false, ignoreOptional(err, ref.Optional)
		}
		b, ok := s.Data[ref.Key]
		if !ok && (ref.Optional == nil || !*ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return string(b), ok, nil
	}
	return "", false, fmt.Errorf("a variable of container %s has a valueFrom of a kind that this node does not know", c.Name)
}

// expand replaces $(NAME) by variables that there are; $$ is a dollar sign.
func expand(s string, lookup func(string) (string, bool)) string {
	out, _ := expandWith(s, lookup)
	return out
}

// expandStrict refuses variables that there are not.
func expandStrict(s string, lookup func(string) (string, bool)) (string, error) {
	out, missing := expandWith(s, lookup)
	if missing != "" {
		return "", fmt.Errorf("there is no variable %q", missing)
	}
	return out, nil
}

func expandWith(s string, lookup func(string) (string, bool)) (out, missing string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			name := s[i+2 : i+end]
			if v, ok := lookup(name); ok {
				b.WriteString(v)
			} else {
				missing = name
				b.WriteString(s[i : i+end+1])
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String(), missing
}
