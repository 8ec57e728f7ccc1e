package webhooks

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	arv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/test/inprocess"
)

var (
	fail, ignore = arv1.Fail, arv1.Ignore
	none         = arv1.SideEffectClassNone
	watched      = &metav1.LabelSelector{MatchLabels: map[string]string{"watched": "yes"}}
)

func rule(group, version, resources string, operations ...arv1.OperationType) []arv1.RuleWithOperations {
	return []arv1.RuleWithOperations{{Operations: operations, Rule: arv1.Rule{
		APIGroups: []string{group}, APIVersions: []string{version}, Resources: strings.Split(resources, ",")}}}
}

func (e *env) at(path string) arv1.WebhookClientConfig {
	port := int32(hooksPort)
	return arv1.WebhookClientConfig{CABundle: e.bundle, Service: &arv1.ServiceReference{Namespace: hooksNamespace, Name: hooksService, Path: &path, Port: &port}}
}

func (e *env) validate(t *testing.T, name, path string, rules []arv1.RuleWithOperations, change ...func(*arv1.ValidatingWebhook)) {
	t.Helper()
	w := arv1.ValidatingWebhook{Name: name + ".test.dev", ClientConfig: e.at(path), Rules: rules, SideEffects: &none, AdmissionReviewVersions: []string{"v1", "v1beta1"}, NamespaceSelector: watched}
	for _, f := range change {
		f(&w)
	}
	if _, err := e.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &arv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []arv1.ValidatingWebhook{w},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *env) mutate(t *testing.T, name, path string, rules []arv1.RuleWithOperations, change ...func(*arv1.MutatingWebhook)) {
	t.Helper()
	w := arv1.MutatingWebhook{Name: name + ".test.dev", ClientConfig: e.at(path), Rules: rules, SideEffects: &none, AdmissionReviewVersions: []string{"v1", "v1beta1"}, NamespaceSelector: watched}
	for _, f := range change {
		f(&w)
	}
	if _, err := e.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &arv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []arv1.MutatingWebhook{w},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func deny(message string) func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	return func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: message}}
	}
}

func patch(text string) func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	return func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		kind := admissionv1.PatchTypeJSONPatch
		return &admissionv1.AdmissionResponse{Allowed: true, Patch: []byte(text), PatchType: &kind}
	}
}

func wantRefused(t *testing.T, what string, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %q", what, err, text)
	}
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "example", Image: "pause"}}}}
}

// "should be able to deny pod and configmap creation"
func TestDenyPodsAndConfigMaps(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.on("/pods", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		var p corev1.Pod
		if err := json.Unmarshal(r.Object.Raw, &p); err != nil {
			return deny(err.Error())(r)
		}
		for _, c := range p.Spec.Containers {
			if c.Name == "webhook-disallow" {
				return deny("the pod contains unwanted container name; ")(r)
			}
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	e.on("/configmaps", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if strings.Contains(string(r.Object.Raw), "webhook-e2e-test") {
			return deny("the configmap contains unwanted key and value")(r)
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	e.validate(t, "deny-pods", "/pods", rule("", "v1", "pods", arv1.Create))
	e.validate(t, "deny-configmaps", "/configmaps", rule("", "v1", "configmaps", arv1.Create, arv1.Update, arv1.Delete))

	bad := pod("bad")
	bad.Spec.Containers[0].Name = "webhook-disallow"
	_, err := e.client.CoreV1().Pods("n").Create(ctx, bad, metav1.CreateOptions{})
	wantRefused(t, "a pod", err, `admission webhook "deny-pods.test.dev" denied the request: the pod contains unwanted container name; `)
	if _, err := e.client.CoreV1().Pods("n").Create(ctx, pod("good"), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	unwanted := map[string]string{"webhook-e2e-test": "webhook-disallow"}
	maps := e.client.CoreV1().ConfigMaps("n")
	_, err = maps.Create(ctx, configMap("bad", unwanted), metav1.CreateOptions{})
	wantRefused(t, "a config map", err, "the configmap contains unwanted key and value")
	if _, err := maps.Create(ctx, configMap("c", map[string]string{"admit": "this"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = maps.Update(ctx, configMap("c", unwanted), metav1.UpdateOptions{})
	wantRefused(t, "an update", err, "the configmap contains unwanted key and value")
	_, err = maps.Patch(ctx, "c", types.StrategicMergePatchType, []byte(`{"data":{"webhook-e2e-test":"x"}}`), metav1.PatchOptions{})
	wantRefused(t, "a patch", err, "the configmap contains unwanted key and value")
	inprocess.Namespace(t, e.client, "skipped", nil)
	if _, err := e.client.CoreV1().ConfigMaps("skipped").Create(ctx, configMap("bad", unwanted), metav1.CreateOptions{}); err != nil {
		t.Errorf("in a namespace that is not selected: %v", err)
	}
}

// "should be able to deny attaching pod"
func TestDenyAttach(t *testing.T) {
	e := serve(t)
	e.on("/attach", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		var options corev1.PodAttachOptions
		if err := json.Unmarshal(r.Object.Raw, &options); err != nil || r.Name != "p" || !options.Stdin || options.Container != "c1" {
			return deny("not the options that were sent: " + string(r.Object.Raw))(r)
		}
		return deny("attaching to pod 'p' is not allowed")(r)
	})
	if _, err := e.client.CoreV1().Pods("n").Create(t.Context(), pod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.validate(t, "deny-attach", "/attach", rule("", "v1", "pods/attach", arv1.Connect))
	err := e.client.CoreV1().RESTClient().Post().Resource("pods").Namespace("n").Name("p").SubResource("attach").
		Param("stdin", "true").Param("container", "c1").Do(t.Context()).Error()
	wantRefused(t, "attach", err, "attaching to pod 'p' is not allowed")
}

// "should unconditionally reject operations on fail closed webhook", and "should honor timeout"
func TestFailClosedAndTimeout(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	late := make(chan struct{})
	defer close(late)
	e.on("/slow", func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		<-late
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	maps := e.client.CoreV1().ConfigMaps("n")
	configs := e.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	remove := func(name string) {
		t.Helper()
		if err := configs.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	all := rule("", "v1", "configmaps", arv1.Create)
	e.validate(t, "closed", "/x", all, func(w *arv1.ValidatingWebhook) {
		w.ClientConfig.CABundle, w.FailurePolicy = nil, &fail // nobody's certificate is trusted
	})
	_, err := maps.Create(ctx, configMap("foo", nil), metav1.CreateOptions{})
	if !apierrors.IsInternalError(err) {
		t.Errorf("fail closed: %v", err)
	}
	remove("closed")
	one := int32(1)
	for _, c := range []struct {
		name   string
		policy *arv1.FailurePolicyType
		ok     bool
	}{{"slow-fail", &fail, false}, {"slow-ignore", &ignore, true}} {
		e.validate(t, c.name, "/slow", all, func(w *arv1.ValidatingWebhook) { w.TimeoutSeconds, w.FailurePolicy = &one, c.policy })
		start := time.Now()
		_, err := maps.Create(ctx, configMap(c.name, nil), metav1.CreateOptions{})
		if took := time.Since(start); took > 5*time.Second || c.ok && err != nil {
			t.Errorf("%s: %v after %s", c.name, err, took)
		}
		if !c.ok {
			wantRefused(t, c.name, err, "context deadline exceeded")
		}
		remove(c.name)
	}
}

// "should mutate configmap", "should mutate pod and apply defaults after mutation"
func TestMutateConfigMapsAndPods(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	stage := func(had, adds string) func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
			var m corev1.ConfigMap
			if err := json.Unmarshal(r.Object.Raw, &m); err != nil || m.Data[had] != "yes" {
				return &admissionv1.AdmissionResponse{Allowed: true}
			}
			return patch(`[{"op":"add","path":"/data/` + adds + `","value":"yes"}]`)(r)
		}
	}
	e.on("/1", stage("mutation-start", "mutation-stage-1"))
	e.on("/2", stage("mutation-stage-1", "mutation-stage-2"))
	e.mutate(t, "a-first", "/1", rule("", "v1", "configmaps", arv1.Create))
	e.mutate(t, "b-second", "/2", rule("", "v1", "configmaps", arv1.Create))
	m, err := e.client.CoreV1().ConfigMaps("n").Create(ctx, configMap("m", map[string]string{"mutation-start": "yes"}), metav1.CreateOptions{})
	if err != nil || m.Data["mutation-stage-1"] != "yes" || m.Data["mutation-stage-2"] != "yes" {
		t.Errorf("%v, %v", m, err)
	}
	e.on("/init", patch(`[{"op":"add","path":"/spec/initContainers","value":[{"image":"webhook-added-image","name":"webhook-added-init-container","resources":{}}]}]`))
	e.mutate(t, "pods", "/init", rule("", "v1", "pods", arv1.Create))
	p, err := e.client.CoreV1().Pods("n").Create(ctx, pod("p"), metav1.CreateOptions{})
	if err != nil || len(p.Spec.InitContainers) != 1 {
		t.Fatalf("%v, %v", p, err)
	}
	if c := p.Spec.InitContainers[0]; c.Name != "webhook-added-init-container" || c.TerminationMessagePolicy == "" || c.ImagePullPolicy == "" {
		t.Errorf("no defaults after the mutation: %+v", c)
	}
}

// "should not be able to mutate or prevent deletion of webhook configuration objects"
func TestConfigurationsAreExempt(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.on("/deny", deny("no"))
	e.on("/label", patch(`[{"op":"add","path":"/metadata/labels","value":{"mutated":"yes"}}]`))
	all := rule("*", "*", "validatingwebhookconfigurations,mutatingwebhookconfigurations", arv1.OperationAll)
	e.validate(t, "deny-configs", "/deny", all, func(w *arv1.ValidatingWebhook) { w.NamespaceSelector = nil })
	e.mutate(t, "label-configs", "/label", all, func(w *arv1.MutatingWebhook) { w.NamespaceSelector = nil })
	e.validate(t, "victim", "/x", rule("", "v1", "invalid", arv1.Create))
	configs := e.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if got, err := configs.Get(ctx, "victim", metav1.GetOptions{}); err != nil || len(got.Labels) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"victim", "deny-configs"} {
		if err := configs.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

var (
	definitions = runtimeschema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	things      = runtimeschema.GroupVersionResource{Group: "test.dev", Version: "v1", Resource: "things"}
)

func definition(storage string) *unstructured.Unstructured {
	version := func(name string) map[string]any {
		return map[string]any{"name": name, "served": true, "storage": name == storage, "schema": map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "properties": map[string]any{"data": map[string]any{"type": "object", "properties": map[string]any{
				"mutation-start": map[string]any{"type": "string"}, "mutation-stage-1": map[string]any{"type": "string"}, "forbidden": map[string]any{"type": "string"}}}}}}}
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things.test.dev"}, "spec": map[string]any{
			"group": "test.dev", "scope": "Namespaced", "names": map[string]any{"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
			"versions": []any{version("v1"), version("v2")}}}}
}

func thing(name, version string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "test.dev/" + version, "kind": "Thing", "metadata": map[string]any{"name": name}, "data": data}}
}

// define makes the type, and waits until it is served.
func (e *env) define(t *testing.T, d *unstructured.Unstructured) {
	t.Helper()
	if _, err := e.dynamic.Resource(definitions).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := e.dynamic.Resource(things).List(t.Context(), metav1.ListOptions{}); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// "should be able to deny custom resource creation, update and deletion"
func TestDenyCustomResources(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.define(t, definition("v1"))
	e.on("/thing", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		object := r.Object.Raw
		if r.Operation == admissionv1.Delete {
			object = r.OldObject.Raw
		}
		if strings.Contains(string(object), `"forbidden"`) {
			return deny("the custom resource contains unwanted data")(r)
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	c := e.dynamic.Resource(things).Namespace("n")
	if _, err := c.Create(ctx, thing("old", "v1", map[string]any{"forbidden": "x"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.validate(t, "things", "/thing", rule("test.dev", "v1", "things", arv1.Create, arv1.Update, arv1.Delete))
	const text = "the custom resource contains unwanted data"
	_, err := c.Create(ctx, thing("bad", "v1", map[string]any{"forbidden": "x"}), metav1.CreateOptions{})
	wantRefused(t, "create", err, text)
	if _, err := c.Create(ctx, thing("good", "v1", map[string]any{}), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	_, err = c.Patch(ctx, "good", types.MergePatchType, []byte(`{"data":{"forbidden":"x"}}`), metav1.PatchOptions{})
	wantRefused(t, "update", err, text)
	wantRefused(t, "delete", c.Delete(ctx, "old", metav1.DeleteOptions{}), text)
	wantRefused(t, "delete of a collection", c.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}), text)
	if _, err := c.Patch(ctx, "old", types.JSONPatchType, []byte(`[{"op":"remove","path":"/data/forbidden"}]`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, "old", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// "should mutate custom resource", with pruning, and with a different stored version
func TestMutateCustomResources(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.define(t, definition("v1"))
	e.on("/thing", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if !strings.Contains(string(r.Object.Raw), `"mutation-start":"yes"`) || !strings.Contains(string(r.Object.Raw), `"apiVersion":"test.dev/v1"`) {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		return patch(`[{"op":"add","path":"/data/mutation-stage-1","value":"yes"},{"op":"add","path":"/data/pruned","value":"yes"}]`)(r)
	})
	e.mutate(t, "things", "/thing", rule("test.dev", "v1", "things", arv1.Create, arv1.Update))
	start := map[string]any{"mutation-start": "yes"}
	want := func(o *unstructured.Unstructured, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		data, _, _ := unstructured.NestedMap(o.Object, "data")
		if data["mutation-stage-1"] != "yes" || data["pruned"] != nil {
			t.Errorf("%v", o.Object)
		}
	}
	want(e.dynamic.Resource(things).Namespace("n").Create(ctx, thing("a", "v1", start), metav1.CreateOptions{}))
	v2 := things
	v2.Version = "v2"
	want(e.dynamic.Resource(v2).Namespace("n").Create(ctx, thing("b", "v2", start), metav1.CreateOptions{}))
	// The stored version changes; objects stored in the old one are written in the new one.
	if _, err := e.dynamic.Resource(definitions).Patch(ctx, "things.test.dev", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	want(e.dynamic.Resource(things).Namespace("n").Patch(ctx, "a", types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`), metav1.PatchOptions{}))
}

// "should deny crd creation"
func TestDenyDefinitions(t *testing.T) {
	e := serve(t)
	e.on("/crd", deny("the crd contains unwanted label"))
	e.validate(t, "crds", "/crd", rule("apiextensions.k8s.io", "*", "customresourcedefinitions", arv1.Create), func(w *arv1.ValidatingWebhook) {
		w.NamespaceSelector, w.ObjectSelector = nil, &metav1.LabelSelector{MatchLabels: map[string]string{"webhook-e2e-test": "webhook-disallow"}}
	})
	d := definition("v1")
	d.SetLabels(map[string]string{"webhook-e2e-test": "webhook-disallow"})
	_, err := e.dynamic.Resource(definitions).Create(t.Context(), d, metav1.CreateOptions{})
	wantRefused(t, "a definition", err, "the crd contains unwanted label")
	e.define(t, definition("v1"))
}

// "patching/updating a validating webhook should work", "listing … should work"
func TestChangesOfConfigurations(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.on("/deny", deny("no"))
	e.validate(t, "v", "/deny", rule("", "v1", "configmaps", arv1.Create))
	configs := e.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	maps := e.client.CoreV1().ConfigMaps("n")
	try := func(want bool) {
		t.Helper()
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"}}, metav1.CreateOptions{})
		if (err == nil) != want {
			t.Errorf("create: %v, want success: %v", err, want)
		}
	}
	try(false)
	o, err := configs.Get(ctx, "v", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.Webhooks[0].Rules[0].Operations = []arv1.OperationType{arv1.Update}
	if _, err := configs.Update(ctx, o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	try(true)
	if _, err := configs.Patch(ctx, "v", types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/rules/0/operations","value":["CREATE"]}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	try(false)
	if list, err := configs.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := configs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	try(true)
}

// "should reject … webhook configurations with invalid match conditions", and honour valid ones
func TestMatchConditions(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	e.on("/deny", deny("no"))
	condition := func(expression string) *arv1.ValidatingWebhookConfiguration {
		return &arv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Webhooks: []arv1.ValidatingWebhook{{
			Name: "m.test.dev", ClientConfig: e.at("/deny"), Rules: rule("", "v1", "configmaps", arv1.Create), SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, MatchConditions: []arv1.MatchCondition{{Name: "only", Expression: expression}},
		}}}
	}
	configs := e.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := configs.Create(ctx, condition("... [] bad expression"), metav1.CreateOptions{})
	wantRefused(t, "an expression that is none", err, "compilation failed")
	if !apierrors.IsInvalid(err) {
		t.Errorf("%v", err)
	}
	if _, err := configs.Create(ctx, condition("object.metadata.name != 'skip-me' && object.metadata.namespace == 'n'"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.client.CoreV1().ConfigMaps("n").Create(ctx, configMap("skip-me", nil), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	_, err = e.client.CoreV1().ConfigMaps("n").Create(ctx, configMap("take-me", nil), metav1.CreateOptions{})
	wantRefused(t, "what the condition selects", err, `admission webhook "m.test.dev" denied the request: no`)
}

// What the server itself adds to new objects is added after webhooks, so that they can decide
// about it, and so that nothing is derived of it twice.
func TestWhatTheServerAddsComesLast(t *testing.T) {
	e := serve(t)
	ctx := t.Context()
	seen := make(chan string, 2)
	e.on("/label", func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		seen <- string(r.Object.Raw)
		return patch(`[{"op":"add","path":"/metadata/annotations","value":{"mutated":"yes"}}]`)(r)
	})
	e.mutate(t, "jobs", "/label", rule("batch", "v1", "jobs", arv1.Create))
	job, err := e.client.BatchV1().Jobs("n").Create(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j"}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: pod("x").Spec.Containers}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if uid := string(job.UID); job.Spec.Selector.MatchLabels["batch.kubernetes.io/controller-uid"] != uid || job.Spec.Template.Labels["batch.kubernetes.io/controller-uid"] != uid {
		t.Errorf("the selector is of another object: %+v", job.Spec)
	}
	if job.Annotations["mutated"] != "yes" {
		t.Errorf("annotations %v", job.Annotations)
	}
	if text := <-seen; strings.Contains(text, "controller-uid") {
		t.Errorf("the webhook saw %s", text)
	}
	e.on("/headless", patch(`[{"op":"add","path":"/spec/clusterIP","value":"None"}]`))
	e.mutate(t, "services", "/headless", rule("", "v1", "services", arv1.Create))
	s, err := e.client.CoreV1().Services("n").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	if err != nil || s.Spec.ClusterIP != "None" || len(s.Spec.ClusterIPs) != 1 || s.Spec.ClusterIPs[0] != "None" {
		t.Errorf("%v, %v", s, err)
	}
}
