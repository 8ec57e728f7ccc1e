package aggregation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
)

const (
	bucket     = "apiservices.apiregistration.k8s.io/"
	apiVersion = "apiregistration.k8s.io/v1"
	// managedLabel marks the APIServices that this server keeps.
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	// managedOnStart ones are corrected when the server starts and are the user's until
	// then, managedAlways ones are corrected at once.
	managedOnStart = "onstart"
	managedAlways  = "true"
	// pluginLabel names the plugin that serves the group version.
	pluginLabel = "core.pintle.dev/plugin"
	defaultPort = 443
)

// object is what this package reads of an APIService.
type object struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		Labels            map[string]string `json:"labels"`
		DeletionTimestamp *string           `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Group                string `json:"group"`
		Version              string `json:"version"`
		GroupPriorityMinimum int32  `json:"groupPriorityMinimum"`
		VersionPriority      int32  `json:"versionPriority"`
		InsecureSkip         bool   `json:"insecureSkipTLSVerify"`
		CABundle             []byte `json:"caBundle"`
		Service              *struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
			Port      int32  `json:"port"`
		} `json:"service"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

// condition is a metav1.Condition without its generation, as APIServices have it.
type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
	LastTransitionTime string `json:"lastTransitionTime"`
}

const available = "Available"

// local is the condition of what this server serves itself.
var local = condition{Type: available, Status: "True", Reason: "Local", Message: "Local APIServices are always available"}

// Priority says where a group version stands in discovery: higher first.
type Priority struct{ Group, Version int32 }

// entry is what is kept of one APIService.
type entry struct {
	gv       schema.GroupVersion
	priority Priority
	managed  string
	uid      string
	revision uint64
	// condition Available as it is stored; empty fields where there is none. localSet says
	// that it is that of a group version which is served here.
	condition condition
	localSet  bool
	deleting  bool
	name      string
	// service says that the APIService names a Service, plugin which plugin serves it.
	service bool
	plugin  string
	// remote is set where this server does not serve the group version itself.
	remote *remote
}

func nameOf(gv schema.GroupVersion) string { return gv.Version + "." + gv.Group }

func decode(data []byte) (*object, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode an APIService: %w", err)
	}
	return &o, nil
}

func (o *object) available() condition {
	for _, c := range o.Status.Conditions {
		if c.Type == available {
			return c
		}
	}
	return condition{}
}

// same reports whether a condition says the same, whenever it began.
func (c condition) same(other condition) bool {
	c.LastTransitionTime, other.LastTransitionTime = "", ""
	return c == other
}

func now(clock func() time.Time) string { return clock().UTC().Format(time.RFC3339) }

// newLocal encodes the APIService of a group version that is served here, by a plugin or not.
func newLocal(gv schema.GroupVersion, w wish, when string) store.Write {
	p, status, labels := w.priority, map[string]any{}, map[string]any{managedLabel: w.managed}
	if w.plugin != "" {
		labels[pluginLabel] = w.plugin
	} else {
		c := local
		c.LastTransitionTime = when
		status["conditions"] = []any{c.tree()}
	}
	spec := map[string]any{"version": gv.Version, "groupPriorityMinimum": int64(p.Group), "versionPriority": int64(p.Version)}
	if gv.Group != "" {
		spec["group"] = gv.Group
	}
	data, at := jsontree.Encode(map[string]any{
		"apiVersion": apiVersion, "kind": "APIService",
		"metadata": map[string]any{
			"name": nameOf(gv), "uid": uuid.NewString(), "creationTimestamp": when,
			"labels": labels, "resourceVersion": "",
		},
		"spec": spec, "status": status,
	}, nil)
	return store.Write{Key: key(nameOf(gv)), Data: data, RevisionAt: at, Expect: store.MustNotExist}
}

func key(name string) store.Key { return store.Key(bucket + "/" + name) }

func (c condition) tree() map[string]any {
	return map[string]any{
		"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message, "lastTransitionTime": c.LastTransitionTime,
	}
}

// withCondition returns the write that gives a stored APIService the condition, or false
// where it has it.
func withCondition(o store.Object, want condition, when string) (store.Write, bool, error) {
	return edit(o, func(tree map[string]any) bool {
		status := jsontree.Map(tree, "status")
		if status == nil {
			status = map[string]any{}
			tree["status"] = status
		}
		list, _ := status["conditions"].([]any)
		want.LastTransitionTime = when
		i := slices.IndexFunc(list, func(v any) bool {
			m, _ := v.(map[string]any)
			return m["type"] == want.Type
		})
		if i < 0 {
			status["conditions"] = append(slices.Clone(list), any(want.tree()))
			return true
		}
		have, _ := list[i].(map[string]any)
		if have["status"] == want.Status {
			want.LastTransitionTime, _ = have["lastTransitionTime"].(string)
		}
		next := want.tree()
		if jsontree.Equal(have, next) {
			return false
		}
		list = slices.Clone(list)
		list[i] = next
		status["conditions"] = list
		return true
	})
}

// asWished returns the write that makes a stored APIService the local one of gv.
func asWished(o store.Object, gv schema.GroupVersion, w wish) (store.Write, bool, error) {
	return edit(o, func(tree map[string]any) bool {
		spec := map[string]any{
			"version": gv.Version, "groupPriorityMinimum": int64(w.priority.Group), "versionPriority": int64(w.priority.Version),
		}
		if gv.Group != "" {
			spec["group"] = gv.Group
		}
		labels := maps.Clone(jsontree.Map(tree, "metadata", "labels"))
		if labels == nil {
			labels = map[string]any{}
		}
		delete(labels, pluginLabel)
		if w.plugin != "" {
			labels[pluginLabel] = w.plugin
		}
		meta := jsontree.Map(tree, "metadata")
		if jsontree.Equal(tree["spec"], spec) && jsontree.Equal(jsontree.Map(tree, "metadata", "labels"), labels) {
			return false
		}
		tree["spec"], meta["labels"] = spec, labels
		return true
	})
}

// edit returns the guarded write of a changed object.
func edit(o store.Object, change func(tree map[string]any) bool) (store.Write, bool, error) {
	d, err := jsontree.Decode(o.Data)
	if err != nil {
		return store.Write{}, false, fmt.Errorf("decode %s: %w", o.Key, err)
	}
	if !change(d.Tree) {
		return store.Write{}, false, nil
	}
	data, at := jsontree.Encode(d.Tree, d.ManagedFields)
	return store.Write{Key: o.Key, Data: data, RevisionAt: at, Expect: store.Expectation(o.Revision)}, true, nil
}
