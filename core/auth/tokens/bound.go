package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// user checks that what the token is bound to still exists and is the same, and returns
// the user it stands for.
func (s *Service) user(ctx context.Context, c *claims) (resource.User, error) {
	k := c.Kubernetes
	if err := s.exists(ctx, "serviceaccounts", "service account", k.Namespace, k.ServiceAccount); err != nil {
		return resource.User{}, err
	}
	user := resource.User{
		Name: c.Subject, UID: k.ServiceAccount.UID,
		Groups: []string{allGroup, groupPrefix + k.Namespace},
		Extra:  map[string][]string{},
	}
	if c.ID != "" {
		user.Extra[extraCredential] = []string{"JTI=" + c.ID}
	}
	if k.Secret != nil {
		if err := s.exists(ctx, "secrets", "secret", k.Namespace, *k.Secret); err != nil {
			return resource.User{}, err
		}
	}
	if k.Pod != nil {
		if err := s.exists(ctx, "pods", "pod", k.Namespace, *k.Pod); err != nil {
			return resource.User{}, err
		}
		user.Extra[extraPodName] = []string{k.Pod.Name}
		user.Extra[extraPodUID] = []string{k.Pod.UID}
	}
	if k.Node != nil {
		// A token bound to a pod says which node the pod is on, which is worth telling
		// even when the node is gone; one bound to the node itself dies with it.
		if k.Pod == nil {
			if err := s.exists(ctx, "nodes", "node", "", *k.Node); err != nil {
				return resource.User{}, err
			}
		}
		user.Extra[extraNodeName] = []string{k.Node.Name}
		if k.Node.UID != "" {
			user.Extra[extraNodeUID] = []string{k.Node.UID}
		}
	}
	return user, nil
}

// deletionLeeway is how long after its grace period has ended a bound object that is
// still there keeps its tokens alive; upstream's value.
const deletionLeeway = 60 * time.Second

func (s *Service) exists(ctx context.Context, bucket, what, namespace string, r ref) error {
	o, err := s.objects.Get(ctx, store.Key(bucket+"/"+namespace+"/"+r.Name))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("service-account token: %s %q of the token no longer exists", what, name(namespace, r.Name))
	}
	if err != nil {
		return fmt.Errorf("service-account token: read %s %q: %w", what, name(namespace, r.Name), err)
	}
	meta := gjson.GetManyBytes(o.Data, "metadata.uid", "metadata.deletionTimestamp")
	if uid := meta[0].String(); uid != r.UID {
		return fmt.Errorf("service-account token: %s %q has UID %s, the token was issued for %s", what, name(namespace, r.Name), uid, r.UID)
	}
	if t := meta[1]; t.Exists() {
		if at, err := time.Parse(time.RFC3339, t.String()); err == nil && s.now().After(at.Add(deletionLeeway)) {
			return fmt.Errorf("service-account token: %s %q has been deleted", what, name(namespace, r.Name))
		}
	}
	return nil
}

func name(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
