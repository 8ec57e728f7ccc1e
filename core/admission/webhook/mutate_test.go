package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
)

const onlyWidgets = `"rules":[{"operations":["CREATE","UPDATE"],"apiGroups":["test.dev"],"apiVersions":["v1"],"resources":["widgets","widgets/status"]}]`

// Patched objects are what they would be had the client sent them so.
func TestMutation(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	for _, c := range []struct {
		name, patch, method, path, body string
		code                            int
		want                            map[string]any
		message                         string
	}{
		{"a field", `[{"op":"add","path":"/spec/size","value":"large"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 201,
			map[string]any{"spec.size": "large", "spec.color": "grey"}, ""},
		{"a default comes back", `[{"op":"remove","path":"/spec/color"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{"color":"red"}}`, 201,
			map[string]any{"spec.color": "grey"}, ""},
		{"an invalid value", `[{"op":"add","path":"/spec/size","value":"huge"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 422, nil, `spec.size: Unsupported value: "huge"`},
		{"an unknown field is dropped, strict or not", `[{"op":"add","path":"/spec/shape","value":"round"}]`, "POST", widgets + "?fieldValidation=Strict",
			`{"metadata":{"name":"w"},"spec":{}}`, 201, map[string]any{"spec.shape": nil}, ""},
		{"an equivalent version", `[{"op":"replace","path":"/spec/size","value":"large"}]`, "POST", strings.Replace(widgets, "v1", "v1beta1", 1),
			`{"metadata":{"name":"w"},"spec":{"size":"small"}}`, 201, map[string]any{"apiVersion": "test.dev/v1beta1", "spec.size": "large"}, ""},
		{"the status of a new object", `[{"op":"add","path":"/status","value":{"phase":"Done"}}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 201,
			map[string]any{"status": nil}, ""},
		{"the name of a new object", `[{"op":"replace","path":"/metadata/name","value":"w"}]`, "POST", widgets, `{"metadata":{"name":"v"},"spec":{}}`, 201,
			map[string]any{"metadata.name": "w"}, ""},
		{"a name where there is none", `[{"op":"add","path":"/metadata/name","value":"w"}]`, "POST", widgets, `{"metadata":{"generateName":"v-"},"spec":{}}`, 201,
			map[string]any{"metadata.name": "w"}, ""},
		{"the namespace", `[{"op":"replace","path":"/metadata/namespace","value":"other"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 400, nil,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"the uid of a new object is the server's", `[{"op":"add","path":"/metadata/uid","value":"mine"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 201, nil, ""},
		{"a path that is not there", `[{"op":"remove","path":"/spec/none"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 500, nil, "Internal error occurred"},
		{"the kind", `[{"op":"replace","path":"/kind","value":"Pod"}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 500, nil, "attempted to change apiVersion or kind"},
		{"no object left", `[{"op":"replace","path":"","value":null}]`, "POST", widgets, `{"metadata":{"name":"w"},"spec":{}}`, 500, nil, ""},

		{"an update", `[{"op":"add","path":"/spec/size","value":"large"}]`, "PUT", widgets + "/x", `{"metadata":{"name":"x","resourceVersion":"RV"},"spec":{}}`, 200,
			map[string]any{"spec.size": "large", "metadata.generation": 2.0}, ""},
		{"the name", `[{"op":"replace","path":"/metadata/name","value":"y"}]`, "PUT", widgets + "/x", `{"metadata":{"name":"x","resourceVersion":"RV"},"spec":{}}`, 422, nil,
			"metadata.name: Invalid value: \"y\": field is immutable"},
		{"the uid", `[{"op":"replace","path":"/metadata/uid","value":"y"}]`, "PATCH", widgets + "/x", `{"spec":{"size":"small"}}`, 422, nil, "metadata.uid: Invalid value: \"y\": field is immutable"},
		{"the status by the object", `[{"op":"add","path":"/status","value":{"phase":"Done"}}]`, "PATCH", widgets + "/x", `{"spec":{"size":"small"}}`, 200,
			map[string]any{"status": nil}, ""},
		{"the object by the status", `[{"op":"add","path":"/spec/size","value":"large"}]`, "PATCH", widgets + "/x/status", `{"status":{"phase":"Done"}}`, 200,
			map[string]any{"status.phase": "Done", "spec.size": nil}, ""},
		{"server-side apply", `[{"op":"add","path":"/spec/size","value":"large"}]`, "PATCH", widgets + "/new?fieldManager=me",
			`{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"name":"new"},"spec":{}}`, 201, map[string]any{"spec.size": "large"}, ""},
	} {
		a.Do("DELETE", widgets+"/w", "")
		a.Do("DELETE", widgets+"/x", "")
		rv, _ := apiservertest.At(a.Must(201, "POST", widgets, `{"metadata":{"name":"x"},"spec":{}}`).Object(), "metadata.resourceVersion").(string)
		s.on("/patch", patching(c.patch))
		a.configure(mutating, "m", s.at("/patch", onlyWidgets))
		header := contentType(c.method)
		if strings.Contains(c.path, "fieldManager=me") {
			header = []string{"Content-Type", "application/apply-patch+yaml"}
		}
		r := a.Do(c.method, c.path, strings.Replace(c.body, "RV", rv, 1), header...)
		if r.Code != c.code || !strings.Contains(r.Message(), c.message) {
			t.Errorf("%s: %d %s", c.name, r.Code, r.Body)
		}
		for path, want := range c.want {
			if got := apiservertest.At(r.Object(), path); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %v", c.name, path, got, want)
			}
		}
		if uid := apiservertest.At(r.Object(), "metadata.uid"); r.Code < 300 && (uid == "mine" || uid == nil) {
			t.Errorf("%s: the uid is %v", c.name, uid)
		}
		a.clear()
	}
}

// A new object has neither name nor uid while it is mutated, if the server makes them, and has
// both when it is validated.
func TestNewObjectsAreAnonymous(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/patch", patching(`[{"op":"add","path":"/spec/a","value":1}]`))
	a.configure(mutating, "m", s.at("/patch", ""))
	a.configure(validating, "v", s.at("/allow", ""))
	r := a.Must(201, "POST", pods, `{"metadata":{"generateName":"p-"},"spec":{}}`)
	seen := s.take()
	if len(seen) != 2 {
		t.Fatalf("called %d times", len(seen))
	}
	var first, second map[string]any
	_ = json.Unmarshal(seen[0].Object.Raw, &first)
	_ = json.Unmarshal(seen[1].Object.Raw, &second)
	for _, path := range []string{"metadata.name", "metadata.uid", "metadata.creationTimestamp"} {
		if v := apiservertest.At(first, path); v != nil {
			t.Errorf("mutating: %s is %v", path, v)
		}
		if v, want := apiservertest.At(second, path), apiservertest.At(r.Object(), path); v == nil || v != want {
			t.Errorf("validating: %s is %v, later %v", path, v, want)
		}
	}
	if seen[0].Name != "" || seen[1].Name != apiservertest.At(r.Object(), "metadata.name") {
		t.Errorf("names %q, %q", seen[0].Name, seen[1].Name)
	}
}

// Configurations are called in the order of their names, webhooks in that of their list, and
// each sees what those before have done.
func TestOrder(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	add := func(path string) {
		s.on(path, func(r *admissionv1.AdmissionRequest) *verdict {
			var o map[string]any
			_ = json.Unmarshal(r.Object.Raw, &o)
			before, _ := apiservertest.At(o, "data.trace").(string)
			return patching(fmt.Sprintf(`[{"op":"add","path":"/data/trace","value":%q}]`, before+path))(r)
		})
	}
	for _, path := range []string{"/b1", "/b0", "/a"} {
		add(path)
	}
	a.configure(mutating, "bbb", s.at("/b1", ""), s.at("/b0", ""))
	a.configure(mutating, "aaa", s.at("/a", ""))
	if r := a.Must(201, "POST", cms, `{"metadata":{"name":"c"},"data":{"k":"v"}}`); apiservertest.At(r.Object(), "data.trace") != "/a/b1/b0" {
		t.Errorf("%s", r.Body)
	}
}

func TestReinvocation(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	const ifNeeded = `"reinvocationPolicy":"IfNeeded"`
	s.on("/same", patching(`[{"op":"add","path":"/data/same","value":"x"}]`))
	s.on("/other", patching(`[{"op":"add","path":"/data/other","value":"x"}]`))
	n := 0
	s.on("/more", func(r *admissionv1.AdmissionRequest) *verdict {
		n++
		return patching(fmt.Sprintf(`[{"op":"add","path":"/data/n%d","value":"x"}]`, n))(r)
	})
	for _, c := range []struct {
		name  string
		hooks []string
		want  string
	}{
		{"nothing changed after it", []string{s.at("/same", ifNeeded)}, "/same"},
		{"changed after it", []string{s.at("/same", ifNeeded), s.at("/other", "")}, "/same /other /same"},
		{"changed after it, and it does not mind", []string{s.at("/same", ""), s.at("/other", "")}, "/same /other"},
		{"not changed after it", []string{s.at("/same", ifNeeded), s.at("/allow", "")}, "/same /allow"},
		{"there is no third round", []string{s.at("/more", ifNeeded), s.at("/more", ifNeeded)}, "/more /more /more /more"},
		{"two of three", []string{s.at("/same", ifNeeded), s.at("/allow", ifNeeded), s.at("/other", "")}, "/same /allow /other /same /allow"},
		{"the last needs none", []string{s.at("/same", ""), s.at("/other", ifNeeded)}, "/same /other"},
	} {
		a.configure(mutating, "r", c.hooks...)
		s.take()
		a.Must(201, "POST", cms, `{"metadata":{"name":"c"},"data":{"k":"v"}}`)
		if got := s.takePaths(); got != c.want {
			t.Errorf("%s: called %s, want %s", c.name, got, c.want)
		}
		a.clear()
		a.Must(200, "DELETE", cms+"/c", "")
	}
}

// What the type's own hooks change of a mutated object counts as a change after the webhooks.
func TestReinvocationAfterHooks(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/guard", patching(`[{"op":"add","path":"/spec/guard","value":"mine"},{"op":"add","path":"/status","value":{"phase":"Mine"}}]`))
	a.configure(mutating, "r", s.at("/guard", `"reinvocationPolicy":"IfNeeded"`))
	r := a.Must(201, "POST", pods, `{"metadata":{"name":"p"},"spec":{}}`)
	if got := s.takePaths(); got != "/guard /guard" {
		t.Errorf("called %s", got)
	}
	if apiservertest.At(r.Object(), "spec.guard") != "the kind's" || apiservertest.At(r.Object(), "status.phase") != "Pending" {
		t.Errorf("not the kind's own: %s", r.Body)
	}
}

func TestMutationOfSubresources(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	a.Must(201, "POST", pods, `{"metadata":{"name":"p"},"spec":{}}`)
	a.Must(201, "POST", widgets, `{"metadata":{"name":"w"},"spec":{"replicas":1}}`)
	s.on("/scale", patching(`[{"op":"replace","path":"/spec/replicas","value":7}]`))
	a.configure(mutating, "scale", s.at("/scale", `"rules":[{"operations":["UPDATE"],"apiGroups":["*"],"apiVersions":["*"],"resources":["widgets/scale"]}]`))
	r := a.Must(200, "PUT", widgets+"/w/scale", `{"metadata":{"name":"w"},"spec":{"replicas":3}}`)
	if apiservertest.At(r.Object(), "spec.replicas") != 7.0 {
		t.Errorf("scale: %s", r.Body)
	}
	s.on("/bind", patching(`[{"op":"replace","path":"/target/name","value":"elsewhere"}]`))
	a.configure(mutating, "bind", s.at("/bind", `"rules":[{"operations":["CREATE"],"apiGroups":["*"],"apiVersions":["*"],"resources":["pods/binding"]}]`))
	a.Must(201, "POST", pods+"/p/binding", `{"metadata":{"name":"p"},"target":{"name":"here"}}`)
	if r := a.Must(200, "GET", pods+"/p", ""); apiservertest.At(r.Object(), "spec.nodeName") != "elsewhere" {
		t.Errorf("binding: %s", r.Body)
	}
	s.on("/exec", patching(`[{"op":"replace","path":"/command/0","value":"true"},{"op":"remove","path":"/stdin"}]`))
	a.configure(mutating, "exec", s.at("/exec", `"rules":[{"operations":["CONNECT"],"apiGroups":["*"],"apiVersions":["*"],"resources":["pods/exec"]}]`))
	a.Must(200, "POST", pods+"/p/exec?command=rm&command=-r&stdin=1", "")
	if got := <-a.streamed; got != "command=true&command=-r" {
		t.Errorf("exec: %s", got)
	}
	s.on("/delete", patching(`[{"op":"add","path":"/metadata/labels","value":{}}]`))
	a.configure(mutating, "delete", s.at("/delete", `"rules":[{"operations":["DELETE"],"apiGroups":["*"],"apiVersions":["*"],"resources":["pods"]}]`))
	if r := a.Do("DELETE", pods+"/p", ""); r.Code != 500 || !strings.Contains(r.Message(), `admission webhook "h0.delete.test.dev" attempted to modify the object, which is not supported for this operation`) {
		t.Errorf("delete: %s", r.Body)
	}
}

// Whom the fields belong to is said of what the client has sent.
func TestManagedFields(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/patch", patching(`[{"op":"add","path":"/data/added","value":"x"},{"op":"add","path":"/metadata/managedFields","value":[]}]`))
	a.configure(mutating, "m", s.at("/patch", ""))
	r := a.Must(201, "POST", cms+"?fieldManager=me", `{"metadata":{"name":"c"},"data":{"sent":"x"}}`)
	text, err := json.Marshal(apiservertest.At(r.Object(), "metadata.managedFields"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "f:sent") || strings.Contains(string(text), "f:added") {
		t.Errorf("%s", text)
	}
}

// A configuration is in force when its writer is answered, and not any longer when its
// deletion is.
func TestConfigurationsAreInForceAtOnce(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	s.on("/deny", denying(nil))
	for range 50 {
		a.configure(validating, "v", s.at("/deny", ""))
		a.Must(400, "POST", cms, `{"metadata":{"name":"c"}}`)
		a.Must(200, "PATCH", validating+"/v", `{"webhooks":[]}`, "Content-Type", "application/merge-patch+json")
		a.Must(201, "POST", cms, `{"metadata":{"name":"c"}}`)
		a.Must(200, "DELETE", validating+"/v", "")
		a.Must(200, "DELETE", cms+"/c", "")
	}
}
