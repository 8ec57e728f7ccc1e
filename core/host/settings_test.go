package host_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var secretsResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// wishing is a host that carries out Plugin objects.
type wishing struct {
	*running
	client *fake.FakeDynamicClient
}

func wish(t *testing.T, tweak func(*host.Config), objects ...*unstructured.Unstructured) *wishing {
	t.Helper()
	all := make([]runtime.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{host.Resource(): "PluginList", secretsResource: "SecretList"}, all...)
	// Of itself the client's watches know no selectors.
	client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		from, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		if err != nil {
			return true, nil, err
		}
		wanted := a.(clienttesting.WatchAction).GetWatchRestrictions()
		return true, watch.Filter(from, func(e watch.Event) (watch.Event, bool) {
			u, ok := e.Object.(*unstructured.Unstructured)
			return e, ok && wanted.Labels.Matches(labels.Set(u.GetLabels()))
		}), nil
	})
	return &wishing{startWith(t, tweak, func(h *host.Host) { h.PublishTo(client) }), client}
}

func wishFor(name string, spec tree) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: tree{
		"apiVersion": "core.pintle.dev/v1", "kind": "Plugin", "metadata": tree{"name": name, "generation": int64(1)}, "spec": spec,
	}}
}

// known waits until a plugin is in the catalogue.
func (w *wishing) known(t *testing.T, name string) {
	t.Helper()
	eventually(t, patience, name+" in the catalogue", func() bool { _, err := w.Status(name); return err == nil })
}

func (w *wishing) secret(t *testing.T, version, text string) {
	t.Helper()
	api := w.client.Resource(secretsResource).Namespace("vault")
	u := &unstructured.Unstructured{Object: tree{
		"apiVersion": "v1", "kind": "Secret", "metadata": tree{"namespace": "vault", "name": "db", "resourceVersion": version},
		"data": tree{"settings": base64.StdEncoding.EncodeToString([]byte(text))},
	}}
	_, err := api.Update(w.ctx, u, metav1.UpdateOptions{})
	if err != nil {
		_, err = api.Create(w.ctx, u, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSettingsComeFromSecrets(t *testing.T) {
	w := wish(t, fetched(t, needs("w")), wishFor("w", tree{
		"source": tree{"oci": "w"}, "args": []any{"plugin", "controller", "w"}, "network": true,
		"settings":     tree{"mode": "fast"},
		"settingsFrom": []any{tree{"secretRef": tree{"namespace": "vault", "name": "db", "key": "settings"}}},
	}))
	w.known(t, "w")
	st := w.wait(t, "w", func(st host.Status) bool { return st.Health == host.HealthPending && st.Reason != "" })
	if want := "its settings come from the Secret vault/db, which is not there"; st.Reason != want {
		t.Errorf("reason: %s", st.Reason)
	}
	settings := func(want string) {
		t.Helper()
		eventually(t, patience, want, func() bool { r, _ := w.report("w"); return r.Settings == want })
	}
	w.secret(t, "1", "workers: 3\n")
	st = w.wait(t, "w", healthy)
	settings(`{"mode":"fast","workers":3}`)
	if c, _ := st.Condition(host.ConditionSettings); !c.Status {
		t.Errorf("condition: %+v", c)
	}
	// Another content is another entry, which takes over; what is the same is not.
	w.secret(t, "2", `{"workers": 4, "mode": "safe"}`)
	settings(`{"mode":"safe","workers":4}`)
	st = w.wait(t, "w", upgraded("Serving"))
	w.secret(t, "3", `{"mode": "safe", "workers": 4}`)
	// What the plugin does not accept leaves it as it was, and tells nobody.
	w.secret(t, "4", `{"workers": 4, "mode": "hunter2"}`)
	refused := w.wait(t, "w", upgraded("Refused"))
	if c, _ := refused.Condition(host.ConditionUpgraded); refused.PID != st.PID || strings.Contains(c.Message, "hunter2") || !strings.Contains(c.Message, "settings.mode: Unsupported value") {
		t.Errorf("process %d, before %d: %s", refused.PID, st.PID, c.Message)
	}
	// So does a Secret that goes, or says nothing.
	w.secret(t, "5", `{"mode": "safe", "workers": 4}`)
	w.wait(t, "w", upgraded("Serving"))
	w.secret(t, "6", `- no object`)
	gone := func(want string) {
		t.Helper()
		now := w.wait(t, "w", func(st host.Status) bool {
			c, _ := st.Condition(host.ConditionSettings)
			return !c.Status && strings.Contains(c.Message, want)
		})
		if !healthy(now) || now.PID != st.PID {
			t.Errorf("without its Secret: %s, process %d, before %d", now.Health, now.PID, st.PID)
		}
	}
	gone("holds no object in YAML or JSON")
	if err := w.client.Resource(secretsResource).Namespace("vault").Delete(w.ctx, "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	gone("which is not there")
	grant := `{"metadata":{"generation":2},"spec":{"permissions":{"grant":"Requested"}}}`
	if _, err := w.client.Resource(host.Resource()).Patch(w.ctx, "w", types.MergePatchType, []byte(grant), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "w", func(st host.Status) bool { return len(st.PendingPermissions) == 0 })
	gone("which is not there")
	object, err := w.client.Resource(host.Resource()).Get(w.ctx, "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := w.Logs("w", 200)
	text, _ := json.Marshal(object)
	if all := string(text) + strings.Join(lines, "\n"); strings.Contains(all, "hunter2") {
		t.Errorf("the secret is told: %s", all)
	}
}

func TestSettingsThatHadBetterBeSecretAreSaid(t *testing.T) {
	w := wish(t, fetched(t, needs("w")), wishFor("w", tree{
		"source": tree{"oci": "w"}, "args": []any{"plugin", "controller", "w"}, "network": true,
		"settings": tree{"login": tree{"password": "hunter2"}},
	}))
	w.known(t, "w")
	w.wait(t, "w", healthy)
	lines, _ := w.Logs("w", 200)
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "can read settings.login.password: put that into a Secret") || strings.Contains(all, "hunter2") {
		t.Error(all)
	}
}

func TestWhoNamesASecretMustBeAllowedToReadIt(t *testing.T) {
	types := &host.Types{Authorize: func(_ context.Context, u resource.User, verb, _, res, ns, name string) (bool, error) {
		return verb == "get" && res == "secrets" && ns == u.Name && name == "db", nil
	}}
	named := func(ns string) tree {
		return pluginObject("w", nil, tree{"settingsFrom": []any{tree{"secretRef": tree{"namespace": ns, "name": "db", "key": "k"}}}})
	}
	for name, c := range map[string]struct {
		ns  string
		old tree
		ok  bool
	}{
		"one's own":                   {"jane", nil, true},
		"another's":                   {"vault", nil, false},
		"another's that was there":    {"vault", named("vault"), true},
		"another's instead of others": {"vault", named("jane"), false},
	} {
		err := hooks(types).(resource.Admitter).Admit(t.Context(), &resource.Request{
			Operation: resource.Update, Name: "w", User: resource.User{Name: "jane"}, Object: named(c.ns), Old: c.old,
		})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
