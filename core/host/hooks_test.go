package host_test

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type tree = map[string]any

func hooks(t *host.Types) any { return t.Hooks(host.Resource().GroupResource()) }

func pluginObject(name string, labels, spec tree) tree {
	return tree{"metadata": tree{"name": name, "labels": labels}, "spec": spec}
}

func TestWishesAreCheckedFieldByField(t *testing.T) {
	oci := tree{"oci": "registry.example.com/widget:1"}
	for name, c := range map[string]struct {
		spec tree
		want string
	}{
		"a good one":             {tree{"source": oci, "version": ">=1", "permissions": tree{"grant": "Requested"}, "limits": tree{"memory": "64Mi"}}, ""},
		"unknown field":          {tree{"source": oci, "sauce": "x"}, `unknown field "sauce"`},
		"unknown field below":    {tree{"source": tree{"oci": "x", "tag": "1"}}, `unknown field "source.tag"`},
		"two sources":            {tree{"source": tree{"oci": "x", "path": "/x"}, "sha256": strings.Repeat("0", 64)}, "exactly one of path, directory and oci"},
		"relative path":          {tree{"source": tree{"directory": "x"}}, "spec.source.directory: Invalid value: \"x\": must be an absolute path"},
		"path without checksum":  {tree{"source": tree{"path": "/x"}}, "spec.sha256: Required value"},
		"short checksum":         {tree{"source": oci, "sha256": "ab"}, "spec.sha256: Invalid value"},
		"version of our own":     {tree{"version": "1"}, "spec.version: Forbidden"},
		"constraint":             {tree{"source": oci, "version": "newest"}, "spec.version: Invalid value"},
		"placement":              {tree{"source": oci, "placement": "moon"}, `spec.placement: Unsupported value: "moon"`},
		"linked in from outside": {tree{"source": oci, "placement": "builtin"}, "only the host's own plugins"},
		"another name":           {tree{"source": oci, "plugin": "gadget"}, `must be the object's name, "widget"`},
		"grant":                  {tree{"source": oci, "permissions": tree{"grant": "Everything"}}, "spec.permissions.grant: Unsupported value"},
		"rules beside all":       {tree{"source": oci, "permissions": tree{"grant": "Requested", "rules": []any{tree{"verbs": []any{"get"}, "resources": []any{"pods"}, "apiGroups": []any{""}}}}}, "spec.permissions.rules: Forbidden"},
		"empty rule":             {tree{"source": oci, "permissions": tree{"rules": []any{tree{"verbs": []any{"get"}}}}}, "allows nothing"},
		"limits":                 {tree{"source": oci, "limits": tree{"memory": "0", "processes": int64(0)}}, "spec.limits.memory: Invalid value"},
		"settings":               {tree{"source": oci, "settings": "x"}, "spec.settings: Invalid value"},
		"watch period":           {tree{"source": oci, "replacement": tree{"watchPeriod": "-1s"}}, "spec.replacement.watchPeriod"},
		"admission":              {tree{"source": oci, "admission": tree{"failurePolicy": "Maybe", "timeoutSeconds": int64(90)}}, "spec.admission.failurePolicy"},
		"settings from nothing":  {tree{"source": oci, "settingsFrom": []any{tree{}}}, "spec.settingsFrom[0].secretRef: Required value"},
		"settings from no key":   {tree{"source": oci, "settingsFrom": []any{tree{"secretRef": tree{"namespace": "n", "name": "s", "key": "a/b"}}}}, "spec.settingsFrom[0].secretRef.key"},
		"secrets on nodes":       {tree{"source": oci, "nodeScoped": true, "settingsFrom": []any{tree{"secretRef": tree{"namespace": "n", "name": "s", "key": "k"}}}}, "spec.settingsFrom: Forbidden"},
		"points beside all":      {tree{"source": oci, "permissions": tree{"grant": "Requested", "uses": []any{"cloud"}}}, "spec.permissions.uses: Forbidden"},
		"node":                   {tree{"source": oci, "node": "n"}, "spec.node: Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := hooks(&host.Types{}).(resource.Validator).Validate(t.Context(), &resource.Request{
				Operation: resource.Create, Name: "widget", Object: pluginObject("widget", nil, c.spec),
			})
			switch {
			case c.want == "" && len(errs) > 0:
				t.Error(errs.ToAggregate())
			case c.want != "" && (len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), c.want)):
				t.Errorf("got %v, want %q", errs, c.want)
			}
		})
	}
}

func TestConfiguredPluginsAreNotWishedFor(t *testing.T) {
	errs := hooks(&host.Types{Configured: []string{"network"}}).(resource.Validator).Validate(t.Context(), &resource.Request{
		Operation: resource.Create, Name: "network", Object: pluginObject("network", nil, tree{}),
	})
	if len(errs) != 1 || errs[0].Field != "metadata.name" {
		t.Error(errs)
	}
}

func TestObjectsOfHostsAreTheirs(t *testing.T) {
	kept := tree{"core.pintle.dev/host": "server"}
	v := hooks(&host.Types{}).(resource.Validator)
	for name, labels := range map[string][2]tree{"taken away": {kept, nil}, "given": {nil, kept}, "another": {kept, {"core.pintle.dev/host": "node.x"}}} {
		errs := v.Validate(t.Context(), &resource.Request{
			Operation: resource.Update, Name: "widget", Old: pluginObject("widget", labels[0], tree{}), Object: pluginObject("widget", labels[1], tree{}),
		})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "can't be changed") {
			t.Errorf("label %s: %v", name, errs)
		}
	}
}

// A host on a node must not get plugins to run anywhere else.
func TestHostsOnNodesWriteTheirOwnObjectsOnly(t *testing.T) {
	types := &host.Types{Nodes: host.NodeHosts{Group: "hosts", UserPrefix: "host:"}}
	user := resource.User{Name: "host:n1", Groups: []string{"hosts"}}
	for name, c := range map[string]struct {
		object string
		labels tree
		ok     bool
	}{
		"its own":        {"net.n1", tree{"core.pintle.dev/host": "node.n1"}, true},
		"another node's": {"net.n2", tree{"core.pintle.dev/host": "node.n2"}, false},
		"the server's":   {"net", tree{"core.pintle.dev/host": "server"}, false},
		"a wish":         {"net.n1", nil, false},
		"a false name":   {"net", tree{"core.pintle.dev/host": "node.n1"}, false},
	} {
		o := pluginObject(c.object, c.labels, tree{})
		err := hooks(types).(resource.Admitter).Admit(t.Context(), &resource.Request{Operation: resource.Create, Name: c.object, User: user, Object: o})
		_, gone := hooks(types).(resource.Deleter).GracePeriod(t.Context(), &resource.Request{Operation: resource.Delete, Name: c.object, User: user, Old: o}, nil)
		if (err == nil) != c.ok || (gone == nil) != c.ok {
			t.Errorf("%s: written %v, deleted %v", name, err, gone)
		}
	}
}

func TestWhoGrantsMustBeAllowedTo(t *testing.T) {
	types := &host.Types{Authorize: func(_ context.Context, u resource.User, verb, _, res, _, _ string) (bool, error) {
		return u.Name == "root" && verb == "escalate" && res == "clusterroles", nil
	}}
	granted := pluginObject("w", nil, tree{"permissions": tree{"grant": "Requested"}})
	admit := hooks(types).(resource.Admitter).Admit
	for name, c := range map[string]struct {
		user string
		old  tree
		ok   bool
	}{
		"root":                     {"root", nil, true},
		"somebody":                 {"jane", nil, false},
		"somebody who leaves them": {"jane", granted, true},
	} {
		err := admit(t.Context(), &resource.Request{Operation: resource.Update, Name: "w", User: resource.User{Name: c.user}, Object: granted, Old: c.old})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeletionNamesTheObjectsThatAreLeft(t *testing.T) {
	types := &host.Types{Count: func(_ context.Context, gr schema.GroupResource) (int, error) {
		return map[string]int{"widgets.example.dev": 3}[gr.String()], nil
	}}
	o := pluginObject("w", nil, tree{})
	o["status"] = tree{"types": []any{"gadgets.example.dev", "widgets.example.dev"}}
	deleter := hooks(types).(resource.Deleter)
	r := &resource.Request{Operation: resource.Delete, Name: "w", Old: o}
	if _, err := deleter.GracePeriod(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "the cluster has 3 widgets.example.dev,") {
		t.Errorf("refusal: %v", err)
	}
	o["metadata"].(tree)["annotations"] = tree{host.RemovalAnnotation: host.RemovalPurge}
	if _, err := deleter.GracePeriod(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
}
