package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/test/process"
)

const soon = time.Minute

// suite is an operator of two managers, and a user of what they manage.
type suite struct {
	client.Client
	warnings   warnings
	kubeconfig string
	certs      string
	front      *front
}

// warnings are what the server warned of.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return said
}

// TestManagers goes through an operator's life: each step takes up what the one before left.
func TestManagers(t *testing.T) {
	s := &suite{kubeconfig: process.Start(t, pintle, "plugins: [{name: scheduler}, {name: workloads}]\n").Kubeconfig(), front: startFront(t)}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.WarningHandlerWithContext = -1, &s.warnings
	scheme := runtime.NewScheme()
	addTypes(scheme)
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	if s.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	s.define(t)
	first := s.manage(t, "first")
	s.leads(t, first)
	second := s.manage(t, "second")

	step := func(name string, do func(*testing.T)) {
		if !t.Run(name, do) {
			t.FailNow()
		}
	}
	step("webhooks", s.webhooks)
	step("conversion", s.conversion)
	step("reconciling", s.reconciling)
	step("metrics", func(t *testing.T) { s.metrics(t, first, second) })
	step("a killed leader", func(t *testing.T) { s.killed(t, first, second) })
	third := s.manage(t, "third")
	step("a leader that steps down", func(t *testing.T) { s.stepsDown(t, second, third) })
	step("deletion", s.deletion)
}

// define creates the definition and the webhooks of widgets.
func (s *suite) define(t *testing.T) {
	t.Helper()
	dir, bundle := certificate(t)
	s.certs = dir
	at := func(path string) admissionv1.WebhookClientConfig {
		url := s.front.url(path)
		return admissionv1.WebhookClientConfig{URL: &url, CABundle: bundle}
	}
	none := admissionv1.SideEffectClassNone
	rules := func(on ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: on, Rule: admissionv1.Rule{
			APIGroups: []string{v1.Group}, APIVersions: []string{v1.Version}, Resources: []string{"widgets"},
		}}}
	}
	text, err := os.ReadFile("testdata/widgets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		t.Fatal(err)
	}
	url := s.front.url("/convert")
	crd.Spec.Conversion.Webhook.ClientConfig = &apiextensionsv1.WebhookClientConfig{URL: &url, CABundle: bundle}
	for _, o := range []client.Object{
		crd,
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "default.works.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
			ClientConfig: at("/mutate-works-example-com-v1-widget"), Rules: rules(admissionv1.Create, admissionv1.Update),
		}}},
		&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "validate.works.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
			ClientConfig: at("/validate-works-example-com-v1-widget"), Rules: rules(admissionv1.Create, admissionv1.Update, admissionv1.Delete),
		}}},
	} {
		if err := s.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	process.Eventually(t, soon, "the definition is established", func() error {
		if err := s.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", crd.Status.Conditions)
	})
}

// manage starts a manager and waits until its probes are well.
func (s *suite) manage(t *testing.T, name string) *manager {
	t.Helper()
	m := startManager(t, name, s.kubeconfig, s.certs)
	for _, path := range []string{"/healthz", "/readyz"} {
		process.Eventually(t, soon, name+path, func() error {
			select {
			case <-m.ended:
				t.Fatalf("manager %s ended", name)
			default:
			}
			_, err := page(t, "http://"+m.health+path)
			return err
		})
	}
	s.front.add(m.webhook)
	return m
}

// page reads a page of text.
func page(t *testing.T, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), err
}

// leads waits until the manager is the leader, and returns the lease.
func (s *suite) leads(t *testing.T, m *manager) *coordinationv1.Lease {
	t.Helper()
	lease := &coordinationv1.Lease{}
	process.Eventually(t, soon, m.name+" leads", func() error {
		text, err := page(t, "http://"+m.metrics+"/metrics")
		if err == nil && !strings.Contains(text, `leader_election_master_status{name="`+leaseName+`"} 1`) {
			err = errors.New("its metrics say that it does not")
		}
		return errors.Join(err, s.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: leaseName}, lease))
	})
	return lease
}

func widget(name string, size int, color string) *Widget {
	return &Widget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: WidgetSpec{Size: size, Color: color}}
}

func (s *suite) webhooks(t *testing.T) {
	w := widget("green", 3, "")
	if err := s.Create(t.Context(), w); err != nil || w.Spec.Color != "green" {
		t.Errorf("color %q: %v", w.Spec.Color, err)
	}
	if said := s.warnings.take(); len(said) > 0 {
		t.Errorf("warnings %q", said)
	}
	if err := s.Create(t.Context(), widget("large", 60, "red")); err != nil {
		t.Error(err)
	}
	if said := s.warnings.take(); !slices.Equal(said, []string{"large widgets are slow"}) {
		t.Errorf("warnings %q", said)
	}
	guarded := widget("guarded", 1, "blue")
	guarded.Annotations = map[string]string{"works.example.com/protected": "yes"}
	if err := s.Create(t.Context(), guarded); err != nil {
		t.Error(err)
	}
	const denied = `admission webhook "validate.works.example.com" denied the request: `
	for _, c := range []struct {
		want string
		do   func() error
	}{
		{"spec.size: 101 is more than 100", func() error { return s.Create(t.Context(), widget("huge", 101, "")) }},
		{"spec.size: 101 is more than 100", func() error { return s.Create(t.Context(), widget("huge", 101, ""), client.DryRunAll) }},
		{"spec.size: widgets do not shrink from 3 to 2", func() error {
			return s.Patch(t.Context(), widget("green", 0, ""), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"size":2}}`)))
		}},
		{"the widget is protected", func() error { return s.Delete(t.Context(), guarded) }},
	} {
		if err := c.do(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), denied+c.want) {
			t.Errorf("%v, want %q", err, denied+c.want)
		}
	}
}

func (s *suite) conversion(t *testing.T) {
	key := client.ObjectKey{Namespace: "default", Name: "old"}
	old := &OldWidget{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Spec: OldWidgetSpec{Measure: "7cm", Color: "red"}}
	if err := s.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	w := &Widget{}
	if err := s.Get(t.Context(), key, w); err != nil || w.Spec.Size != 7 || w.UID != old.UID {
		t.Errorf("as v1: %+v: %v", w.Spec, err)
	}
	w.Spec.Size = 8
	if err := s.Patch(t.Context(), w, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"size":8}}`))); err != nil {
		t.Error(err)
	}
	var all OldWidgetList
	if err := s.List(t.Context(), &all, client.InNamespace(key.Namespace)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range all.Items {
		got[o.Name] = o.Spec.Measure
	}
	if len(got) != 4 || got["old"] != "8cm" || got["green"] != "3cm" || got["large"] != "60cm" {
		t.Errorf("as v1alpha1: %v", got)
	}
	old.Name, old.ResourceVersion, old.UID, old.Spec.Measure = "odd", "", "", "7 inches"
	if err := s.Create(t.Context(), old); err == nil || !strings.Contains(err.Error(), `measure "7 inches" is no number of cm`) {
		t.Errorf("what cannot be converted: %v", err)
	}
}

// settled waits until a widget is reconciled by a manager, and returns it.
func (s *suite) settled(t *testing.T, name, by string, peers int) *Widget {
	t.Helper()
	w := &Widget{}
	process.Eventually(t, soon, name+" is reconciled by "+by, func() error {
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, w); err != nil {
			return err
		}
		c := meta.FindStatusCondition(w.Status.Conditions, "Ready")
		if c == nil || c.ObservedGeneration != w.Generation || w.Status.By != by || w.Status.Peers != peers {
			return fmt.Errorf("generation %d, status %+v", w.Generation, w.Status)
		}
		return nil
	})
	return w
}

// config waits until a widget's ConfigMap has this size, and returns it.
func (s *suite) config(t *testing.T, name, size string) *corev1.ConfigMap {
	t.Helper()
	c := &corev1.ConfigMap{}
	process.Eventually(t, soon, "the ConfigMap "+name+" has size "+size, func() error {
		err := s.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, c)
		if err == nil && c.Data["size"] != size {
			err = fmt.Errorf("data %v", c.Data)
		}
		return err
	})
	return c
}

func (s *suite) reconciling(t *testing.T) {
	w := s.settled(t, "green", "first", 1)
	c := s.config(t, "green", "3")
	if !metav1.IsControlledBy(c, w) {
		t.Errorf("owners %v", c.OwnerReferences)
	}
	if !slices.ContainsFunc(c.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == string(fieldOwner) && f.Operation == metav1.ManagedFieldsOperationApply
	}) {
		t.Errorf("managed fields %v", c.ManagedFields)
	}
	// What others change of the manager's is put back, what they add stays, what they delete
	// is made again.
	if err := s.Patch(t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"size":"9","theirs":"x"}}`)), client.FieldOwner("someone")); err != nil {
		t.Fatal(err)
	}
	if c = s.config(t, "green", "3"); c.Data["theirs"] != "x" {
		t.Errorf("data %v", c.Data)
	}
	if err := s.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if again := s.config(t, "green", "3"); again.UID == c.UID {
		t.Error("it was not deleted")
	}
	if err := s.Patch(t.Context(), w, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"size":4}}`))); err != nil {
		t.Fatal(err)
	}
	s.config(t, "green", "4")
	s.settled(t, "green", "first", 1)
	process.Eventually(t, soon, "the event is there", func() error {
		var events eventsv1.EventList
		if err := s.List(t.Context(), &events, client.InNamespace("default")); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.Name == "green" && e.Regarding.Kind == "Widget" && e.Reason == "Applied" {
				return nil
			}
		}
		return fmt.Errorf("%d others", len(events.Items))
	})
}

func (s *suite) metrics(t *testing.T, first, second *manager) {
	text, err := page(t, "http://"+first.metrics+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`controller_runtime_reconcile_total{controller="widget",result="success"}`,
		`controller_runtime_webhook_requests_total{code="200",webhook="/validate-works-example-com-v1-widget"}`,
		`controller_runtime_active_workers{controller="widget"}`,
		`rest_client_requests_total{code="200"`,
		`workqueue_depth{controller="widget"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `controller_runtime_reconcile_total{controller="widget",result="error"} 1`) {
		t.Errorf("reconciling failed:\n%s", text)
	}
	text, err = page(t, "http://"+second.metrics+"/metrics")
	if err != nil || !strings.Contains(text, `leader_election_master_status{name="`+leaseName+`"} 0`) {
		t.Errorf("the second leads, too: %v\n%s", err, text)
	}
}

// killed ends the leader at once: its lease runs out and the second takes over, webhooks and
// all.
func (s *suite) killed(t *testing.T, first, second *manager) {
	before := s.leads(t, first)
	first.end(t, syscall.SIGKILL)
	lease := s.leads(t, second)
	if *lease.Spec.HolderIdentity == *before.Spec.HolderIdentity || *lease.Spec.LeaseTransitions != *before.Spec.LeaseTransitions+1 {
		t.Errorf("lease %+v, was %+v", lease.Spec, before.Spec)
	}
	if err := s.Create(t.Context(), widget("late", 5, "black")); err != nil {
		t.Fatal(err)
	}
	s.settled(t, "late", "second", 1)
	s.config(t, "late", "5")
}

// stepsDown tells the leader to stop: it gives its lease up.
func (s *suite) stepsDown(t *testing.T, second, third *manager) {
	second.end(t, syscall.SIGTERM)
	s.leads(t, third)
	if err := s.Create(t.Context(), widget("later", 6, "black")); err != nil {
		t.Fatal(err)
	}
	s.settled(t, "later", "third", 2)
}

func (s *suite) deletion(t *testing.T) {
	if err := s.Delete(t.Context(), widget("green", 0, ""), client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{&Widget{}, &corev1.ConfigMap{}} {
		process.Eventually(t, soon, fmt.Sprintf("the %T is gone", o), func() error {
			err := s.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "green"}, o)
			if err == nil {
				return fmt.Errorf("finalizers %v", o.GetFinalizers())
			}
			return client.IgnoreNotFound(err)
		})
	}
	note := &corev1.ConfigMap{}
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "gone-green"}, note); err != nil || note.Data["by"] != "third" {
		t.Errorf("note %v: %v", note.Data, err)
	}
	// The definition goes last, with all that is left of its kind.
	if err := s.Patch(t.Context(), widget("guarded", 0, ""), client.RawPatch("application/merge-patch+json",
		[]byte(`{"metadata":{"annotations":null}}`))); err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "widgets." + v1.Group}}
	if err := s.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, soon, "the definition is gone", func() error {
		err := s.Get(t.Context(), client.ObjectKeyFromObject(crd), crd)
		if err == nil {
			return fmt.Errorf("conditions %v", crd.Status.Conditions)
		}
		return client.IgnoreNotFound(err)
	})
}
