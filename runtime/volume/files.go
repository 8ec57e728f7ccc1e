package volume

import (
	"context"
	"fmt"
	"os"
	"path"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/runtime/downward"
)

const (
	defaultMode = int32(0o644)
	// tokenSeconds is how long a token lives where the volume does not say.
	tokenSeconds = int64(3600)
)

// files collects what a volume that is made of API objects holds.
func (m *Manager) files(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, f downward.Facts) (map[string]file, error) {
	c := &collector{m: m, ctx: ctx, pod: pod, facts: f, out: map[string]file{}, gid: fsGroup(pod)}
	var err error
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		err = c.configMap(s.Name, s.Items, mode(s.DefaultMode), optional(s.Optional))
	case v.Secret != nil:
		s := v.Secret
		err = c.secret(s.SecretName, s.Items, mode(s.DefaultMode), optional(s.Optional))
	case v.DownwardAPI != nil:
		err = c.downward(v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if err = c.projection(&v.Projected.Sources[i], mode(v.Projected.DefaultMode)); err != nil {
				break
			}
		}
	default:
		return nil, fmt.Errorf("volumes of this kind cannot be made on this node")
	}
	return c.out, err
}

func mode(m *int32) int32 {
	if m == nil {
		return defaultMode
	}
	return *m
}

func optional(b *bool) bool { return b != nil && *b }

type collector struct {
	m     *Manager
	ctx   context.Context
	pod   *corev1.Pod
	facts downward.Facts
	out   map[string]file
	gid   int
}

func (c *collector) put(p string, data []byte, mode int32) {
	f := file{data: data, mode: os.FileMode(mode) & os.ModePerm, uid: -1, gid: c.gid}
	if c.gid >= 0 {
		f.mode |= 0o040 // the group is there to read
	}
	c.out[path.Clean(p)] = f
}

func (c *collector) projection(s *corev1.VolumeProjection, mode int32) error {
	switch {
	case s.ConfigMap != nil:
		return c.configMap(s.ConfigMap.Name, s.ConfigMap.Items, mode, optional(s.ConfigMap.Optional))
	case s.Secret != nil:
		return c.secret(s.Secret.Name, s.Secret.Items, mode, optional(s.Secret.Optional))
	case s.DownwardAPI != nil:
		return c.downward(s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		return c.token(s.ServiceAccountToken, mode)
	}
	return fmt.Errorf("a projected source is of a kind that this node cannot make")
}

func (c *collector) configMap(name string, items []corev1.KeyToPath, mode int32, opt bool) error {
	cm, err := c.m.src.ConfigMap(c.ctx, c.pod.Namespace, name)
	if err != nil {
		if opt && apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return c.keys("configmap", name, data, items, mode, opt)
}

func (c *collector) secret(name string, items []corev1.KeyToPath, mode int32, opt bool) error {
	s, err := c.m.src.Secret(c.ctx, c.pod.Namespace, name)
	if err != nil {
		if opt && apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	return c.keys("secret", name, s.Data, items, mode, opt)
}

func (c *collector) keys(kind, name string, data map[string][]byte, items []corev1.KeyToPath, def int32, opt bool) error {
	if len(items) == 0 {
		for k, v := range data {
			c.put(k, v, def)
		}
		return nil
	}
	for _, i := range items {
		v, ok := data[i.Key]
		if !ok {
			if opt {
				continue
			}
			return fmt.Errorf("%s %q references non-existent config key: %s", kind, name, i.Key)
		}
		m := def
		if i.Mode != nil {
			m = *i.Mode
		}
		c.put(i.Path, v, m)
	}
	return nil
}

func (c *collector) downward(items []corev1.DownwardAPIVolumeFile, def int32) error {
	for _, i := range items {
		m := def
		if i.Mode != nil {
			m = *i.Mode
		}
		var v string
		var err error
		switch {
		case i.FieldRef != nil:
			v, err = downward.Field(c.pod, i.FieldRef.FieldPath, c.facts)
		case i.ResourceFieldRef != nil:
			v, err = downward.Resource(c.pod, "", i.ResourceFieldRef, c.facts)
		default:
			err = fmt.Errorf("downwardAPI item %q has neither fieldRef nor resourceFieldRef", i.Path)
		}
		if err != nil {
			return err
		}
		c.put(i.Path, []byte(v), m)
	}
	return nil
}

func (c *collector) token(s *corev1.ServiceAccountTokenProjection, mode int32) error {
	seconds := tokenSeconds
	if s.ExpirationSeconds != nil {
		seconds = *s.ExpirationSeconds
	}
	spec := authv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: c.pod.Name, UID: c.pod.UID},
	}
	if s.Audience != "" {
		spec.Audiences = []string{s.Audience}
	}
	tok, err := c.m.tokens.get(c.ctx, c.pod, spec)
	if err != nil {
		return fmt.Errorf("failed to fetch token: %w", err)
	}
	c.put(s.Path, []byte(tok), mode)
	// A token is readable for who runs in the pod and nobody else, where that is known.
	f := c.out[path.Clean(s.Path)]
	if uid, ok := onlyUser(c.pod); c.gid < 0 && ok {
		f.uid, f.mode = int(uid), 0o600
	} else if c.gid >= 0 {
		f.mode = 0o640
	}
	c.out[path.Clean(s.Path)] = f
	return nil
}

// onlyUser returns the user that all containers of the pod run as, where they say so.
func onlyUser(pod *corev1.Pod) (int64, bool) {
	var uid *int64
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			u := (*int64)(nil)
			if sc := pod.Spec.SecurityContext; sc != nil {
				u = sc.RunAsUser
			}
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				u = sc.RunAsUser
			}
			if u == nil || uid != nil && *uid != *u {
				return 0, false
			}
			uid = u
		}
	}
	if uid == nil {
		return 0, false
	}
	return *uid, true
}
