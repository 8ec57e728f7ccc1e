package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func apply(expression string) string {
	return fmt.Sprintf(`{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":%q}}`, expression)
}

func patches(expression string) string {
	return fmt.Sprintf(`{"patchType":"JSONPatch","jsonPatch":{"expression":%q}}`, expression)
}

// refusedBy is the message of a refusal by the mutating policy p.
func refusedBy(why string) string { return "policy 'p' with binding 'p-0' denied request: " + why }

// TestMutating writes an object under one policy; messages are those of kube-apiserver 1.36.3.
func TestMutating(t *testing.T) {
	pod := `{"metadata":{"name":"x"},"spec":{"replicas":1,"args":["a"],"containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]}}`
	for _, tt := range []struct {
		name, spec string
		pod        bool
		code       int
		// want is the message of a refusal, or the part of the object that has changed.
		want string
	}{
		{"label", `{"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": "1"}}}`) + `]}`, false, 201, `{"l":"1","new":"1"}`},
		{"merge by key", `{"mutations":[` + apply(`Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: c.name, image: c.image + "!"}) + [Object.spec.containers{name: "c"}]}}`) + `]}`, true, 201,
			`{"args":["a"],"containers":[{"image":"i!","name":"a"},{"image":"j!","name":"b"},{"image":"busybox","name":"c"}],"priority":7,"replicas":1}`},
		{"atomic list", `{"mutations":[` + apply(`Object{spec: Object.spec{args: ["b"]}}`) + `]}`, true, 403,
			refusedBy("error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.args")},
		{"patch", `{"mutations":[` + patches(`[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("x/y"), value: "v"}, JSONPatch{op: "remove", path: "/metadata/labels/l"}]`) + `]}`, false, 201, `{"x/y":"v"}`},
		{"patch with a list of objects", `{"mutations":[` + patches(`[JSONPatch{op: "add", path: "/spec/containers", value: [Object.spec.containers{name: "n", image: "m"}]}, JSONPatch{op: "replace", path: "/spec/replicas", value: object.spec.replicas + 4}]`) + `]}`, true, 201,
			`{"args":["a"],"containers":[{"image":"m","name":"n"}],"priority":7,"replicas":5}`},
		{"patch whose test fails", `{"mutations":[` + patches(`[JSONPatch{op: "test", path: "/metadata/labels/l", value: "2"}, JSONPatch{op: "remove", path: "/metadata/labels/l"}]`) + `]}`, false, 201, `{"l":"1"}`},
		{"patch of what is not there", `{"mutations":[` + patches(`[JSONPatch{op: "remove", path: "/data/no"}]`) + `]}`, false, 403,
			refusedBy(`JSON Patch: error in remove for path: '/data/no': Unable to remove nonexistent key: no: missing value`)},
		{"unknown field", `{"mutations":[` + patches(`[JSONPatch{op: "add", path: "/nope", value: "2"}]`) + `]}`, false, 500, `Internal error occurred: strict decoding error: unknown field "nope"`},
		{"wrong type", `{"mutations":[` + patches(`[JSONPatch{op: "add", path: "/data", value: "2"}]`) + `]}`, false, 500,
			"Internal error occurred: json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string"},
		{"unknown field applied", `{"mutations":[` + apply(`Object{metadata: Object.metadata{wrong: "1"}}`) + `]}`, false, 403,
			refusedBy("error applying patch: failed to convert patch object to typed object: .metadata.wrong: field not declared in schema")},
		{"wrong names", `{"mutations":[` + apply(`Object{metadata: Object.wrong{labels: {"a":"b"}}}`) + `]}`, false, 403,
			refusedBy(`type mismatch: unexpected type name "Object.wrong", expected "Object.metadata", which matches field name path from root Object type`)},
		{"error", `{"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": string(object.nope)}}}`) + `]}`, false, 403,
			refusedBy(`expression 'Object{metadata: Object.metadata{labels: {"new": string(object.nope)}}}' resulted in error: no such key: nope`)},
		{"error ignored", `{"failurePolicy":"Ignore","mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": string(object.nope)}}}`) + `,` + apply(`Object{metadata: Object.metadata{labels: {"n": "2"}}}`) + `]}`, false, 201, `{"l":"1","n":"2"}`},
		{"condition", `{"matchConditions":[{"name":"c","expression":"object.metadata.name == 'y'"}],"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": "1"}}}`) + `]}`, false, 201, `{"l":"1"}`},
		{"variables and request", `{"variables":[{"name":"v","expression":"request.operation + namespaceObject.metadata.labels.team"}],"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": variables.v}}}`) + `]}`, false, 201, `{"l":"1","new":"CREATEa"}`},
		{"in order", `{"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"l": "2"}}}`) + `,` + patches(`[JSONPatch{op: "add", path: "/metadata/labels/m", value: object.metadata.labels.l + "!"}]`) + `]}`, false, 422, ""},
		{"what it makes is validated", `{"mutations":[` + patches(`[JSONPatch{op: "add", path: "/metadata/labels/m", value: "not a label"}]`) + `]}`, false, 422, ""},
		{"authorizer", `{"mutations":[` + apply(`Object{metadata: Object.metadata{labels: {"new": string(authorizer.requestResource.check("create").allowed())}}}`) + `]}`, false, 201, `{"l":"1","new":"true"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			c.mutating("p", tt.spec, "{}")
			path, body, part := configMaps, configMap("x", `{"a":"1"}`), func(o map[string]any) any { return o["metadata"].(map[string]any)["labels"] }
			if tt.pod {
				path, body, part = pods, pod, func(o map[string]any) any { return o["spec"] }
			}
			r := c.Must(tt.code, "POST", path, body)
			have := r.Message()
			if tt.code == 201 {
				text, err := json.Marshal(part(r.Object()))
				if err != nil {
					t.Fatal(err)
				}
				have = string(text)
			}
			if tt.want != "" && have != tt.want {
				t.Errorf("\n have %s\n want %s", have, tt.want)
			}
		})
	}
}

// TestMutatingFamily lets several policies change one object: in the order of their names,
// with parameters, and again where they ask for it.
func TestMutatingFamily(t *testing.T) {
	mark := func(mark string) string {
		return patches(`[JSONPatch{op: "add", path: "/data/n", value: object.data.?n.orValue("") + "` + mark + `"}]`)
	}
	n := func(t *testing.T, c *cluster) string {
		t.Helper()
		data, _ := c.Must(201, "POST", configMaps, configMap("x", `{"a":"1"}`)).Object()["data"].(map[string]any)
		s, _ := data["n"].(string)
		return s
	}
	t.Run("never again", func(t *testing.T) {
		c := newCluster(t)
		c.mutating("b", `{"mutations":[`+mark("b")+`]}`, "{}")
		c.mutating("a", `{"mutations":[`+mark("a")+`]}`, "{}", "{}")
		if got := n(t, c); got != "aab" {
			t.Error(got)
		}
	})
	t.Run("again", func(t *testing.T) {
		c := newCluster(t)
		c.mutating("a", `{"reinvocationPolicy":"IfNeeded","mutations":[`+mark("a")+`]}`, "{}")
		c.mutating("b", `{"reinvocationPolicy":"Never","mutations":[`+mark("b")+`]}`, "{}")
		c.mutating("c", `{"reinvocationPolicy":"IfNeeded","mutations":[`+mark("c")+`]}`, "{}")
		if got := n(t, c); got != "abcac" {
			t.Error(got)
		}
	})
	t.Run("parameters", func(t *testing.T) {
		c := newCluster(t)
		for _, name := range []string{"1", "2"} {
			c.Must(201, "POST", "/api/v1/racks", `{"metadata":{"name":"`+name+`"},"data":{"k":"v`+name+`"}}`)
		}
		c.mutating("p", `{"paramKind":{"apiVersion":"v1","kind":"Rack"},"mutations":[`+patches(`[JSONPatch{op: "add", path: "/data/n", value: object.data.?n.orValue("") + params.data.k}]`)+`]}`,
			`{"paramRef":{"selector":{},"parameterNotFoundAction":"Deny"}}`)
		if got := n(t, c); got != "v1v2" {
			t.Error(got)
		}
	})
	t.Run("other version", func(t *testing.T) {
		c := newCluster(t)
		c.mutating("p", `{"matchConstraints":{"resourceRules":[{"apiGroups":["test.dev"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["widgets"]}]},"mutations":[`+
			apply(`Object{spec: Object.spec{size: object.apiVersion}}`)+`]}`, "{}")
		c.Must(201, "POST", "/apis/test.dev/v1beta1/namespaces/default/widgets", `{"apiVersion":"test.dev/v1beta1","kind":"Widget","metadata":{"name":"x"}}`)
		r := c.Must(200, "GET", "/apis/test.dev/v1beta1/namespaces/default/widgets/x", "")
		if spec, _ := r.Object()["spec"].(map[string]any); spec["size"] != "test.dev/v1" || !strings.Contains(string(r.Body), "v1beta1") {
			t.Errorf("%s", r.Body)
		}
	})
	t.Run("updates but not deletions", func(t *testing.T) {
		c := newCluster(t)
		c.Must(201, "POST", configMaps, configMap("y", `{"a":"1"}`))
		c.mutating("p", `{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["*"],"resources":["configmaps"]}]},"mutations":[`+mark("u")+`]}`, "{}")
		r := c.Must(200, "PATCH", configMaps+"/y", `{"data":{"a":"2"}}`, "Content-Type", "application/merge-patch+json")
		if data, _ := r.Object()["data"].(map[string]any); data["n"] != "u" {
			t.Errorf("%s", r.Body)
		}
		c.Must(200, "DELETE", configMaps+"/y", "")
	})
}
