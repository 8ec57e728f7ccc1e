package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// podguard guards pods.
type podguard struct {
	settings settings
}

type settings struct {
	// Labels that pods get where they have no label of that key.
	Labels map[string]string `json:"labels"`
	// Images must have a "tag" (other than latest) or a digest, or a "digest"; "any" may be
	// used where empty.
	Images string `json:"images"`
}

// The plugin says here what it is, so that the compiler tells of a misspelt method.
var (
	_ admission.Admission = (*podguard)(nil)
	_ admission.Mutator   = (*podguard)(nil)
	_ admission.Validator = (*podguard)(nil)
)

// Info implements plugin.Plugin.
func (*podguard) Info() plugin.Info {
	return plugin.Info{Name: "podguard", Version: "0.1.0", Description: "Labels pods, and refuses images without a tag or digest"}
}

// ConfigSchema implements plugin.Plugin.
func (*podguard) ConfigSchema() []byte {
	return []byte(`{"type":"object","properties":{
		"labels":{"type":"object","additionalProperties":{"type":"string","maxLength":63},"description":"labels that pods get where they have none of that key"},
		"images":{"type":"string","enum":["any","tag","digest"],"default":"tag","description":"what the images of pods must have"}}}`)
}

// Configure implements plugin.Plugin.
func (g *podguard) Configure(_ context.Context, raw []byte) error {
	var s settings
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	for key := range s.Labels {
		if strings.Contains(key, "kubernetes.io/") {
			return fmt.Errorf("settings.labels: %q is the cluster's own", key)
		}
	}
	g.settings = s
	return nil
}

// Declare implements admission.Admission. Ephemeral containers come by a subresource.
func (*podguard) Declare() admission.Declaration {
	return admission.Declaration{
		Rules: []admission.Rule{{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods", "pods/ephemeralcontainers"},
			Operations: []resource.Operation{resource.Create, resource.Update}, Scope: admission.NamespacedScope,
		}},
		FailurePolicy: admission.Fail,
	}
}

// Mutate implements admission.Mutator: it labels new pods.
func (g *podguard) Mutate(_ context.Context, r *admission.Request) (changed bool, err error) {
	if r.Operation != resource.Create || r.Subresource != "" {
		return false, nil
	}
	meta, ok := r.Object["metadata"].(map[string]any)
	if !ok {
		return false, nil
	}
	labels, _ := meta["labels"].(map[string]any)
	for key, value := range g.settings.Labels {
		if _, has := labels[key]; has {
			continue
		}
		if labels == nil {
			labels = map[string]any{}
			meta["labels"] = labels
		}
		labels[key] = value
		changed = true
	}
	return changed, nil
}

// Validate implements admission.Validator: it refuses images that it may not take for what
// they were when somebody looked at them. Images that a pod has already are let be.
func (g *podguard) Validate(_ context.Context, r *admission.Request) error {
	before := map[string]bool{}
	eachImage(r.Old, func(_, image string) { before[image] = true })
	var refused []string
	eachImage(r.Object, func(path, image string) {
		if why := g.complaint(image); why != "" && !before[image] {
			refused = append(refused, fmt.Sprintf("%s: %q %s", path, image, why))
		}
	})
	if len(refused) > 0 {
		return fmt.Errorf("%s", strings.Join(refused, "; "))
	}
	return nil
}

func (g *podguard) complaint(image string) string {
	if strings.Contains(image, "@sha256:") {
		return ""
	}
	_, last, found := cutLast(image, "/")
	if !found {
		last = image
	}
	_, tag, tagged := strings.Cut(last, ":")
	switch {
	case g.settings.Images == "digest":
		return "has no digest (IMAGE@sha256:…)"
	case g.settings.Images == "tag" && (!tagged || tag == "latest"):
		return "has no tag but latest, and no digest"
	}
	return ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// eachImage calls f with the images of a pod and where they stand.
func eachImage(pod map[string]any, f func(path, image string)) {
	spec, _ := pod["spec"].(map[string]any)
	for _, kind := range []string{"initContainers", "containers", "ephemeralContainers"} {
		list, _ := spec[kind].([]any)
		for i, item := range list {
			container, _ := item.(map[string]any)
			if image, ok := container["image"].(string); ok {
				f(fmt.Sprintf("spec.%s[%d].image", kind, i), image)
			}
		}
	}
}
