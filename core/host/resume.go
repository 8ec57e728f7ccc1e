package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// resume takes over into its status what an earlier host has found out about a plugin.
func (s *supervisor) resume(st *Status, e Spec, history []Revision) {
	st.History = history
	if e.Origin.Awaits != "" {
		return // it is done when its settings are complete
	}
	for _, r := range slices.Backward(history) {
		if r.Settings != e.Origin.Version || mustJSON(r.Spec) != mustJSON(e.Wish) {
			continue
		}
		if r.State == RevisionRefused || r.State == RevisionRolledBack {
			s.resumeBefore(st, history, r)
		} else {
			wanted := s.plan.current()
			s.plan.hold(entry{serial: wanted.serial, held: r.held()})
		}
		return
	}
}

// resumeBefore goes back to what ran when a revision was given up. What had other content in
// the Secrets of its settings can't be had any more.
func (s *supervisor) resumeBefore(st *Status, history []Revision, failed Revision) {
	for _, r := range slices.Backward(history) {
		if r.Spec == nil || (r.State != RevisionServing && r.State != RevisionReplaced) {
			continue
		}
		good, err := s.host.entry(s.spec.Name, r.Spec)
		if err != nil || good.Origin.Awaits != "" || good.Origin.Version != r.Settings {
			continue
		}
		s.plan.restore(good, r.held())
		st.setCondition(ConditionUpgraded, false, string(failed.State), failed.Reason)
		return
	}
}

// held is what the revision's source held.
func (r *Revision) held() *Artifact {
	if r.Digest == "" && r.SHA256 == "" {
		return nil
	}
	return &Artifact{Digest: r.Digest, SHA256: r.SHA256, Version: r.Version}
}

func (h *Host) wishFile(name string) string {
	return filepath.Join(h.config.Dir, "wishes", name+".json")
}

// rememberWish keeps what an object says, so that after a restart of the host its plugin
// starts, and its types are served, before the API server can be asked.
func (h *Host) rememberWish(u *unstructured.Unstructured) error {
	keep := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "spec": u.Object["spec"],
		"metadata": map[string]any{"name": u.GetName(), "generation": u.GetGeneration()},
	}}
	if history := lookup(u.Object, "status", "history"); history != nil {
		keep.Object["status"] = map[string]any{"history": history}
	}
	b, err := keep.MarshalJSON()
	if err != nil {
		return fmt.Errorf("remember plugin %s: %w", u.GetName(), err)
	}
	if err := writeFile(h.wishFile(u.GetName()), b); err != nil {
		return fmt.Errorf("remember plugin %s: %w", u.GetName(), err)
	}
	return nil
}

// Recall puts the plugins into the catalogue that were there for the sake of objects when
// this host last ran. It comes before Run; what has changed meanwhile is learned then.
func (h *Host) Recall() {
	files, _ := filepath.Glob(h.wishFile("*")) // the pattern is valid
	for _, file := range files {
		b, err := os.ReadFile(file)
		u := &unstructured.Unstructured{}
		if err == nil {
			err = u.UnmarshalJSON(b)
		}
		if err == nil && strings.TrimSuffix(filepath.Base(file), ".json") == u.GetName() {
			err = h.wish(u, false)
		}
		if err != nil {
			h.config.Logger.Warn("a plugin of an earlier run starts later", "file", file, "error", err)
		}
	}
}

// AtDigest is a reference to an OCI artifact with a digest in place of its tag.
func AtDigest(ref, digest string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndex(ref, ":"); colon > strings.LastIndex(ref, "/") {
		ref = ref[:colon]
	}
	return ref + "@" + digest
}
