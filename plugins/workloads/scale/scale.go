// Package scale reads and writes the scale subresource of objects of any type, as the API
// server's discovery describes it. It keeps nothing: who asks seldom pays little, and a type
// that came a moment ago is found.
//
// It must not know why anybody scales anything.
package scale

import (
	"context"
	"encoding/json"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Target is an object that may have a scale.
type Target struct {
	GroupVersion          schema.GroupVersion
	Kind, Namespace, Name string
}

// Client reads and writes scales.
type Client struct {
	Discovery discovery.DiscoveryInterface
}

// resource returns the plural name of the target's type. It is an error if there is no such
// type, or if it has no scale.
func (c Client) resource(t Target) (string, error) {
	list, err := c.Discovery.ServerResourcesForGroupVersion(t.GroupVersion.String())
	if err != nil {
		return "", fmt.Errorf("look up %s of %s: %w", t.Kind, t.GroupVersion, err)
	}
	plural, names := "", map[string]bool{}
	for _, r := range list.APIResources {
		if r.Kind == t.Kind && r.Namespaced && plural == "" {
			plural = r.Name
		}
		names[r.Name] = true
	}
	if plural == "" {
		return "", fmt.Errorf("no matches for kind %q in version %q", t.Kind, t.GroupVersion)
	}
	if !names[plural+"/scale"] {
		return "", fmt.Errorf("%s does not implement the scale subresource", schema.GroupResource{Group: t.GroupVersion.Group, Resource: plural})
	}
	return plural, nil
}

func (c Client) path(t Target) ([]string, error) {
	plural, err := c.resource(t)
	if err != nil {
		return nil, err
	}
	base := []string{"/apis", t.GroupVersion.Group, t.GroupVersion.Version}
	if t.GroupVersion.Group == "" {
		base = []string{"/api", t.GroupVersion.Version}
	}
	return append(base, "namespaces", t.Namespace, plural, t.Name, "scale"), nil
}

// Get returns the scale of a target. The error of an object that is gone is one that
// apierrors.IsNotFound knows.
func (c Client) Get(ctx context.Context, t Target) (*autoscalingv1.Scale, error) {
	path, err := c.path(t)
	if err != nil {
		return nil, err
	}
	raw, err := c.Discovery.RESTClient().Get().AbsPath(path...).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	return decode(t, raw)
}

// Update writes a scale that was read, held to its version.
func (c Client) Update(ctx context.Context, t Target, s *autoscalingv1.Scale) error {
	path, err := c.path(t)
	if err != nil {
		return err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return c.Discovery.RESTClient().Put().AbsPath(path...).SetHeader("Accept", "application/json").
		SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
}

func decode(t Target, raw []byte) (*autoscalingv1.Scale, error) {
	var s autoscalingv1.Scale
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("scale of %s %s/%s: %w", t.Kind, t.Namespace, t.Name, err)
	}
	return &s, nil
}
