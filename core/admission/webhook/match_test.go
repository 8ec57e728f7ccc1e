package webhook_test

import (
	"fmt"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
)

// Every case has a webhook and a request, and says whether the one is called for the other.
func TestWhichRequests(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	a.Must(201, "POST", cms, `{"metadata":{"name":"there","labels":{"app":"x"}}}`)
	a.Must(201, "POST", pods, `{"metadata":{"name":"there"},"spec":{}}`)
	a.Must(201, "POST", widgets, `{"metadata":{"name":"there"},"spec":{"replicas":1}}`)
	rule := func(operations, groups, versions, resources, scope string) string {
		return fmt.Sprintf(`"rules":[{"operations":[%s],"apiGroups":[%s],"apiVersions":[%s],"resources":[%s],"scope":%q}]`, operations, groups, versions, resources, scope)
	}
	const create = `{"metadata":{"generateName":"c-"}}`
	type request struct{ method, path, body string }
	post := request{"POST", cms, create}
	widget := request{"POST", "/apis/test.dev/v1beta1/namespaces/default/widgets", `{"metadata":{"generateName":"c-"}}`}
	for _, c := range []struct {
		name    string
		hook    string
		request request
		want    int
	}{
		{"all", rule(`"*"`, `"*"`, `"*"`, `"*"`, "*"), post, 1},
		{"exactly", rule(`"CREATE"`, `""`, `"v1"`, `"configmaps"`, "Namespaced"), post, 1},
		{"another operation", rule(`"UPDATE","DELETE"`, `""`, `"v1"`, `"configmaps"`, "*"), post, 0},
		{"another group", rule(`"*"`, `"apps"`, `"*"`, `"configmaps"`, "*"), post, 0},
		{"another version", rule(`"*"`, `""`, `"v2"`, `"configmaps"`, "*"), post, 0},
		{"another resource", rule(`"*"`, `""`, `"v1"`, `"pods"`, "*"), post, 0},
		{"one of several", rule(`"UPDATE","CREATE"`, `"apps",""`, `"v2","v1"`, `"pods","configmaps"`, "*"), post, 1},
		{"objects of the cluster only", rule(`"*"`, `"*"`, `"*"`, `"*"`, "Cluster"), post, 0},
		{"a cluster's object, namespaced only", rule(`"*"`, `"*"`, `"*"`, `"*"`, "Namespaced"), request{"POST", "/api/v1/persistentvolumes", create}, 0},
		{"a cluster's object", rule(`"*"`, `"*"`, `"*"`, `"*"`, "Cluster"), request{"POST", "/api/v1/persistentvolumes", create}, 1},
		{"a namespace is of the cluster", rule(`"*"`, `"*"`, `"*"`, `"*"`, "Cluster"), request{"POST", "/api/v1/namespaces", create}, 1},
		{"a namespace is not namespaced", rule(`"*"`, `"*"`, `"*"`, `"*"`, "Namespaced"), request{"POST", "/api/v1/namespaces", create}, 0},
		{"subresource by *", rule(`"*"`, `"*"`, `"*"`, `"*"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 0},
		{"subresource by */*", rule(`"*"`, `"*"`, `"*"`, `"*/*"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 1},
		{"subresource by name", rule(`"*"`, `"*"`, `"*"`, `"pods/status"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 1},
		{"subresource by pods/*", rule(`"*"`, `"*"`, `"*"`, `"pods/*"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 1},
		{"subresource by */status", rule(`"*"`, `"*"`, `"*"`, `"*/status"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 1},
		{"another subresource", rule(`"*"`, `"*"`, `"*"`, `"*/scale"`, "*"), request{"PUT", pods + "/there/status", `{"metadata":{"name":"there"}}`}, 0},
		{"*/* is the object too", rule(`"*"`, `"*"`, `"*"`, `"*/*"`, "*"), post, 1},
		{"patch is an update", rule(`"UPDATE"`, `""`, `"v1"`, `"configmaps"`, "*"), request{"PATCH", cms + "/there", `{"data":{"a":"b"}}`}, 1},
		{"put that creates nothing", rule(`"CREATE"`, `""`, `"v1"`, `"configmaps"`, "*"), request{"PUT", cms + "/there?dryRun=All", `{"metadata":{"name":"there"}}`}, 0},
		{"reads are not asked about", rule(`"*"`, `"*"`, `"*"`, `"*"`, "*"), request{"GET", cms + "/there", ""}, 0},
		{"no rules", `"rules":[]`, post, 0},
		{"connect", rule(`"CONNECT"`, `""`, `"v1"`, `"pods/exec"`, "*"), request{"POST", pods + "/there/exec?command=ls", ""}, 1},
		{"connect, by another rule", rule(`"CREATE"`, `""`, `"v1"`, `"pods/exec"`, "*"), request{"POST", pods + "/there/exec?command=ls", ""}, 0},
		{"log is a read", rule(`"*"`, `"*"`, `"*"`, `"*/*"`, "*"), request{"GET", pods + "/there/log", ""}, 0},
		{"binding", rule(`"CREATE"`, `""`, `"v1"`, `"pods/binding"`, "*"), request{"POST", pods + "/there/binding", `{"metadata":{"name":"there"},"target":{"name":"n"}}`}, 1},
		{"virtual types", rule(`"CREATE"`, `"*"`, `"*"`, `"subjectaccessreviews"`, "*"), request{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"spec":{}}`}, 1},
		{"webhook configurations are exempt", rule(`"*"`, `"*"`, `"*"`, `"*/*"`, "*"), request{"POST", validating, `{"metadata":{"generateName":"x-"},"webhooks":[]}`}, 0},

		{"equivalent version", rule(`"*"`, `"test.dev"`, `"v1"`, `"widgets"`, "*"), widget, 1},
		{"equivalent version, exact", `"matchPolicy":"Exact",` + rule(`"*"`, `"test.dev"`, `"v1"`, `"widgets"`, "*"), widget, 0},
		{"exactly the version", `"matchPolicy":"Exact",` + rule(`"*"`, `"test.dev"`, `"v1beta1"`, `"widgets"`, "*"), widget, 1},
		{"equivalent subresource", rule(`"*"`, `"test.dev"`, `"v1"`, `"widgets/scale"`, "*"),
			request{"PATCH", "/apis/test.dev/v1beta1/namespaces/default/widgets/there/scale", `{"spec":{"replicas":2}}`}, 1},
		{"not every version is equivalent", rule(`"*"`, `"test.dev"`, `"v2"`, `"widgets"`, "*"), widget, 0},

		{"namespace selected", `"namespaceSelector":{"matchLabels":{"team":"default"}}`, post, 1},
		{"namespace not selected", `"namespaceSelector":{"matchLabels":{"team":"other"}}`, post, 0},
		{"namespace selected by its name", `"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"NotIn","values":["default"]}]}`, post, 0},
		{"a cluster's object has no namespace", `"namespaceSelector":{"matchLabels":{"team":"other"}}`, request{"POST", "/api/v1/persistentvolumes", create}, 1},
		{"a namespace selects itself as it will be", `"namespaceSelector":{"matchLabels":{"team":"new"}}`,
			request{"POST", "/api/v1/namespaces", `{"metadata":{"generateName":"n-","labels":{"team":"new"}}}`}, 1},
		{"a namespace that is not selected", `"namespaceSelector":{"matchLabels":{"team":"new"}}`, request{"POST", "/api/v1/namespaces", create}, 0},

		{"object selected", `"objectSelector":{"matchLabels":{"app":"x"}}`, request{"POST", cms, `{"metadata":{"generateName":"c-","labels":{"app":"x"}}}`}, 1},
		{"object not selected", `"objectSelector":{"matchLabels":{"app":"x"}}`, post, 0},
		{"selected by what it lacks", `"objectSelector":{"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]}`, post, 1},
		{"old object selected", `"objectSelector":{"matchLabels":{"app":"x"}}`, request{"PUT", cms + "/there?dryRun=All", `{"metadata":{"name":"there"}}`}, 1},
		{"deleted object selected", `"objectSelector":{"matchLabels":{"app":"x"}}`, request{"DELETE", cms + "/there?dryRun=All", ""}, 1},
		{"options have no labels", `"objectSelector":{"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]}`, request{"POST", pods + "/there/exec?command=ls", ""}, 0},

		{"condition true", `"matchConditions":[{"name":"a","expression":"request.operation == 'CREATE' && object.metadata.generateName.startsWith('c')"}]`, post, 1},
		{"one condition false", `"matchConditions":[{"name":"a","expression":"true"},{"name":"b","expression":"has(object.data)"}]`, post, 0},
		{"false wins over an error", `"matchConditions":[{"name":"a","expression":"object.data.x == 'y'"},{"name":"b","expression":"false"}]`, post, 0},
		{"error is ignored", `"failurePolicy":"Ignore","matchConditions":[{"name":"a","expression":"object.data.x == 'y'"}]`, post, 0},
		{"condition on the old object", `"matchConditions":[{"name":"a","expression":"oldObject.metadata.name == 'there'"}]`, request{"DELETE", cms + "/there?dryRun=All", ""}, 1},
		{"condition asks the authorizer", `"matchConditions":[{"name":"a","expression":"!authorizer.group('').resource('x').check('breakglass').allowed()"}]`, post, 0},
		{"condition on an equivalent", rule(`"*"`, `"test.dev"`, `"v1"`, `"widgets"`, "*") +
			`,"matchConditions":[{"name":"a","expression":"object.apiVersion == 'test.dev/v1' && request.kind.version == 'v1' && request.requestKind.version == 'v1beta1'"}]`, widget, 1},
	} {
		for _, kind := range []string{validating, mutating} {
			a.configure(kind, "case", s.at("/allow", c.hook))
			s.take()
			if r := a.Do(c.request.method, c.request.path, c.request.body, contentType(c.request.method)...); r.Code >= 300 {
				t.Errorf("%s: %d: %s", c.name, r.Code, r.Body)
			}
			if got := len(s.take()); got != c.want {
				t.Errorf("%s, %s: called %d times, want %d", c.name, kind[len(configs):], got, c.want)
			}
			a.clear()
		}
	}
}

func contentType(method string) []string {
	if method == "PATCH" {
		return []string{"Content-Type", "application/merge-patch+json"}
	}
	return nil
}

// What a webhook is told about a request.
func TestWhatWebhooksSee(t *testing.T) {
	a, s := newAPI(t), newWebhookServer(t)
	a.Must(201, "POST", pods, `{"metadata":{"name":"p"},"spec":{"a":1}}`)
	a.Must(201, "POST", widgets, `{"metadata":{"name":"w"},"spec":{"replicas":1}}`)
	for _, name := range []string{"d1", "d2"} {
		a.Must(201, "POST", "/api/v1/namespaces/other/configmaps", `{"metadata":{"name":"`+name+`"}}`)
	}
	const v1 = `"rules":[{"operations":["*"],"apiGroups":["*"],"apiVersions":["v1"],"resources":["*/*"]}]`
	for _, c := range []struct {
		name, method, path, body string
		want                     map[string]any // by path in the AdmissionRequest
	}{
		{"create", "POST", cms + "?fieldManager=me&dryRun=All&fieldValidation=Strict", `{"metadata":{"name":"c"},"data":{"k":"v"}}`, map[string]any{
			"operation": "CREATE", "name": "c", "namespace": "default", "kind.kind": "ConfigMap", "resource.resource": "configmaps", "dryRun": true,
			"object.data.k": "v", "object.kind": "ConfigMap", "object.apiVersion": "v1", "oldObject": nil, "userInfo.username": "root", "userInfo.uid": "u1", "userInfo.extra.k": []any{"v"},
			"options.kind": "CreateOptions", "options.apiVersion": "meta.k8s.io/v1", "options.fieldManager": "me", "options.fieldValidation": "Strict", "options.dryRun": []any{"All"},
		}},
		{"update", "PUT", pods + "/p", `{"metadata":{"name":"p"},"spec":{"a":2}}`, map[string]any{
			"operation": "UPDATE", "object.spec.a": 2.0, "oldObject.spec.a": 1.0, "options.kind": "UpdateOptions", "dryRun": false, "object.status.phase": "Pending"}},
		{"managed fields", "PATCH", pods + "/p", `{"metadata":{"labels":{"l":"m"}}}`, map[string]any{
			"object.metadata.managedFields.0.manager": "tester", "oldObject.metadata.managedFields.0.operation": "Update"}},
		{"patch", "PATCH", pods + "/p", `{"spec":{"a":3}}`, map[string]any{"operation": "UPDATE", "object.spec.a": 3.0, "oldObject.spec.a": 2.0, "options.kind": "UpdateOptions"}},
		{"status", "PUT", pods + "/p/status", `{"metadata":{"name":"p"},"spec":{"a":9},"status":{"phase":"Running"}}`, map[string]any{
			"operation": "UPDATE", "subResource": "status", "requestSubResource": "status", "object.status.phase": "Running", "object.spec.a": 3.0}},
		{"binding", "POST", pods + "/p/binding", `{"metadata":{"name":"p"},"target":{"name":"n1"}}`, map[string]any{
			"operation": "CREATE", "subResource": "binding", "kind.kind": "Binding", "resource.resource": "pods", "object.target.name": "n1", "object.metadata.namespace": "default", "name": "p"}},
		{"exec", "POST", pods + "/p/exec?command=ls&command=-l&stdin=true&tty=false&container=c", "", map[string]any{
			"operation": "CONNECT", "subResource": "exec", "kind.kind": "PodExecOptions", "object.kind": "PodExecOptions", "object.command": []any{"ls", "-l"},
			"object.stdin": true, "object.tty": nil, "object.container": "c", "oldObject": nil, "options": nil, "name": "p"}},
		{"proxy", "GET", pods + "/p/proxy/some/path", "", map[string]any{"operation": "CONNECT", "subResource": "proxy", "object.path": "/some/path"}},
		{"scale", "PUT", widgets + "/w/scale", `{"metadata":{"name":"w","namespace":"default"},"spec":{"replicas":5}}`, map[string]any{
			"operation": "UPDATE", "subResource": "scale", "kind.group": "autoscaling", "kind.kind": "Scale", "resource.group": "test.dev", "resource.resource": "widgets",
			"object.kind": "Scale", "object.spec.replicas": 5.0, "oldObject.kind": "Scale", "oldObject.spec.replicas": 1.0, "options.kind": "UpdateOptions"}},
		{"scale, patched", "PATCH", widgets + "/w/scale", `{"spec":{"replicas":6}}`, map[string]any{
			"kind.kind": "Scale", "object.spec.replicas": 6.0, "oldObject.spec.replicas": 5.0, "options.kind": "UpdateOptions"}},
		{"equivalent", "POST", "/apis/test.dev/v1beta1/namespaces/default/widgets", `{"metadata":{"name":"e"},"spec":{"size":"small"}}`, map[string]any{
			"kind.version": "v1", "resource.version": "v1", "requestKind.version": "v1beta1", "requestResource.version": "v1beta1",
			"object.apiVersion": "test.dev/v1", "object.spec.size": "small", "object.spec.color": "grey"}},
		{"namespace", "POST", "/api/v1/namespaces", `{"metadata":{"name":"n"}}`, map[string]any{"name": "n", "namespace": "n"}},
		{"delete", "DELETE", cms + "/x", `{"propagationPolicy":"Background"}`, map[string]any{
			"operation": "DELETE", "name": "x", "object": nil, "oldObject.data.k": "v", "options.kind": "DeleteOptions", "options.propagationPolicy": "Background"}},
		{"deletecollection", "DELETE", "/api/v1/namespaces/other/configmaps", "", map[string]any{"operation": "DELETE", "object": nil, "oldObject.kind": "ConfigMap", "namespace": "other"}},
	} {
		for _, kind := range []string{mutating, validating} {
			a.Do("POST", cms, `{"metadata":{"name":"x"},"data":{"k":"v"}}`)
			a.configure(kind, "watcher", s.at("/allow", v1))
			s.take()
			path := c.path
			if kind == mutating && c.name != "create" {
				if path += "?dryRun=All"; c.name == "exec" || c.name == "proxy" {
					path = c.path
				}
			}
			if r := a.Do(c.method, path, c.body, contentType(c.method)...); r.Code >= 300 {
				t.Fatalf("%s: %d: %s", c.name, r.Code, r.Body)
			}
			seen := s.take()
			if len(seen) == 0 {
				t.Errorf("%s, %s: not called", c.name, kind)
				continue
			}
			for _, one := range seen {
				m := asTree(t, one)
				for path, want := range c.want {
					if path == "dryRun" && kind == mutating || path == "options" && c.name != "exec" {
						continue
					}
					if got := apiservertest.At(m, path); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s, %s: %s is %v, want %v", c.name, kind[len(configs):], path, got, want)
					}
				}
			}
			if want := 2; c.name == "deletecollection" && len(seen) != want {
				t.Errorf("deletecollection: called %d times, want %d", len(seen), want)
			}
			a.clear()
		}
	}
}
