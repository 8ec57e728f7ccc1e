package transactions

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/pintle-dev/pintle/test/process"
)

const web = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers: [{name: web, image: example.dev/web}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: shop}
spec: {serviceAccountName: web, containers: [{name: job, image: example.dev/job}]}
`

const around = `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {color: red}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
`

func TestAtomicApply(t *testing.T) {
	server := process.Start(t, process.Pintle(), "plugins: []\n")
	s := newShell(t, server)
	s.file("app/web.yaml", web)
	s.file("app/below/around.yaml", around)

	s.refused([]string{"apply", "--atomic", "-f", "app"}, "nothing was applied",
		`app/web.yaml: deployment "web" in namespace "shop": namespaces "shop" not found`, `app/web.yaml: service "web"`, `app/web.yaml: pod "job"`)
	s.refused([]string{"apply", "--atomic"}, "must specify one of -f and -k")
	s.refused([]string{"apply", "--atomic", "--prune", "-f", "app"}, "unknown flag: --prune")
	s.refused([]string{"apply", "--atomic", "--dry-run=client", "-f", "app"}, "decided by the server")

	want := `deployment.apps/web created
service/web created
pod/job created
serviceaccount/web created
configmap/settings created
namespace/shop created
`
	before := s.ips()
	dry := strings.ReplaceAll(want, "created", "created (server dry run)")
	order := func(text string) string { // directories are walked in their own order
		i := strings.Index(text, "serviceaccount")
		if strings.HasPrefix(text, "serviceaccount") {
			i = strings.Index(text, "deployment")
			return text[i:] + text[:i]
		}
		return text[:i] + text[i:]
	}
	if out := order(s.must("apply", "--atomic", "-R", "-f", "app", "--dry-run=server")); out != dry {
		t.Errorf("dry run:\n%s", out)
	}
	s.refused([]string{"kubectl", "get", "namespace", "shop"}, "not found")

	// One object that is wrong keeps all of them from the cluster, and leaves nothing behind.
	s.file("app/wrong.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: wrong, namespace: shop}\nspec: {ports: [{port: 99999}]}\n")
	s.refused([]string{"apply", "--atomic", "-R", "-f", "app"}, "nothing was applied", `app/wrong.yaml: service "wrong" in namespace "shop"`, "must be between 1 and 65535")
	s.refused([]string{"kubectl", "get", "namespace", "shop"}, "not found")
	if ips := s.ips(); ips != before {
		t.Errorf("addresses are left behind: %s, before %s", ips, before)
	}
	s.file("app/wrong.yaml", "apiVersion: example.dev/v1\nkind: Unknown\nmetadata: {name: x}\n")
	s.refused([]string{"apply", "--atomic", "-R", "-f", "app"}, "app/wrong.yaml", `no matches for kind "Unknown"`)
	s.file("app/wrong.yaml", "# nothing\n")

	if out := order(s.must("apply", "--atomic", "-R", "-f", "app")); out != want {
		t.Errorf("apply:\n%s", out)
	}
	revisions := strings.Fields(s.must("kubectl", "get", "-n", "shop", "deploy/web", "service/web", "pod/job", "cm/settings", "-o", "jsonpath={.items[*].metadata.resourceVersion}"))
	if len(revisions) != 4 {
		t.Errorf("revisions %v", revisions)
	}
	if out := s.must("apply", "--atomic", "-f", "app/web.yaml"); strings.Count(out, "unchanged") != 3 {
		t.Errorf("apply again:\n%s", out)
	}
	s.stdin = strings.ReplaceAll(around, "red", "blue")
	if out := s.must("apply", "--atomic", "-f", "-", "-o", "json", "-l", "!none"); !strings.Contains(out, `"color": "blue"`) {
		t.Errorf("apply -o json:\n%s", out)
	}
	// Who else owns a field is told, and can be overruled.
	s.stdin = strings.ReplaceAll(around, "red", "green")
	s.refused([]string{"apply", "--atomic", "-f", "-", "--field-manager=other"}, `STDIN: configmap "settings" in namespace "shop"`, `conflict with "kubectl"`)
	if out := s.must("apply", "--atomic", "-f", "-", "--field-manager=other", "--force-conflicts"); !strings.Contains(out, "configmap/settings configured") {
		t.Errorf("apply by force:\n%s", out)
	}
	// What client-side apply has applied before goes over to it, with what is left out now.
	s.stdin = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"old","namespace":"shop"},"data":{"a":"1","b":"1"}}`
	s.must("apply", "-f", "-")
	s.stdin = strings.ReplaceAll(s.stdin, `"1","b":"1"`, `"2"`)
	s.must("apply", "--atomic", "-f", "-")
	if out := s.must("kubectl", "get", "configmap", "old", "-n", "shop", "-o", "jsonpath={.data}"); out != `{"a":"2"}` {
		t.Errorf("what was applied before is now %s", out)
	}
	// Without --atomic it is kubectl's.
	if out := s.must("apply", "--server-side", "-f", "app/web.yaml"); !strings.Contains(out, "deployment.apps/web serverside-applied") {
		t.Errorf("kubectl's apply:\n%s", out)
	}
}

// ips are the addresses of services.
func (s *shell) ips() string {
	return s.must("kubectl", "get", "ipaddresses", "-o", "name")
}

func TestHistoryAndUndelete(t *testing.T) {
	server := process.Start(t, process.Pintle(), "plugins: []\n")
	s := newShell(t, server)
	s.must("kubectl", "create", "configmap", "settings", "--from-literal=color=red")
	s.must("kubectl", "patch", "configmap", "settings", "--field-manager=painter", "--type=merge", "-p", `{"data":{"color":"blue","shape":"round"}}`)
	s.must("kubectl", "create", "deployment", "web", "--image=example.dev/web")
	uid := s.must("kubectl", "get", "deployment", "web", "-o", "jsonpath={.metadata.uid}")
	owned := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned","finalizers":["example.dev/wait"],"labels":{"a":"b"},"ownerReferences":[
		{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"` + uid + `"},{"apiVersion":"apps/v1","kind":"Deployment","name":"gone","uid":"1"}]},"data":{"x":"y"}}`
	s.stdin = owned
	s.must("apply", "--atomic", "-f", "-", "--field-manager=owner")
	old := s.must("kubectl", "get", "configmap", "owned", "-o", "jsonpath={.metadata.uid}")
	s.must("kubectl", "delete", "configmap", "owned", "--wait=false")
	s.refused([]string{"undelete", "configmap", "owned"}, `configmaps "owned" in namespace "default" exists`)
	s.must("kubectl", "patch", "configmap", "owned", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	s.must("kubectl", "delete", "configmap", "settings")

	// All of it is there after the process was killed, too.
	server.End(syscall.SIGKILL)
	server.Start()

	out := s.must("history", "configmap", "settings")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "Created") || !strings.Contains(lines[1], "kubectl-create") ||
		!strings.Contains(lines[2], "Updated") || !strings.Contains(lines[2], "painter") || !strings.Contains(lines[2], ".data.color .data.shape") ||
		!strings.Contains(lines[3], "Deleted") || !strings.Contains(lines[3], "kubernetes-admin") {
		t.Errorf("history:\n%s", out)
	}
	out = s.must("history", "cm/settings", "--diff")
	for _, want := range []string{"# Updated configmaps/settings at revision", "-  color: red\n+  color: blue\n+  shape: round\n", "-kind: ConfigMap\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("history --diff lacks %q:\n%s", want, out)
		}
	}
	var h struct {
		Items []struct {
			Type   string
			Object map[string]any
		}
	}
	if err := json.Unmarshal([]byte(s.must("history", "cm", "-o", "json")), &h); err != nil || len(h.Items) < 6 {
		t.Errorf("history -o json has %d items: %v", len(h.Items), err)
	}
	s.refused([]string{"history", "cm", "never"}, `"never" not found`, "behind which nothing is known")
	s.refused([]string{"history", "whats"}, `doesn't have a resource type "whats"`)

	if out := s.must("undelete", "configmap", "settings", "--dry-run=server"); out != "configmap/settings undeleted (server dry run)\n" {
		t.Error(out)
	}
	out, errOut, ok := s.pintle("undelete", "cm/owned")
	if !ok || out != "configmap/owned undeleted\n" || strings.Count(errOut, "is gone") != 1 || !strings.Contains(errOut, `owner deployment "gone" is gone`) {
		t.Errorf("undelete: %s%s", out, errOut)
	}
	var o struct {
		Metadata struct {
			UID, DeletionTimestamp string
			Labels                 map[string]string
			Finalizers             []string
			OwnerReferences        []struct{ Name string }
			ManagedFields          []struct{ Manager string }
		}
		Data map[string]string
	}
	if err := json.Unmarshal([]byte(s.must("kubectl", "get", "configmap", "owned", "-o", "json", "--show-managed-fields")), &o); err != nil {
		t.Fatal(err)
	}
	m := o.Metadata
	if m.UID == old || m.DeletionTimestamp != "" || m.Labels["a"] != "b" || len(m.Finalizers) != 0 || len(m.OwnerReferences) != 1 || m.OwnerReferences[0].Name != "web" ||
		o.Data["x"] != "y" || m.ManagedFields[0].Manager != "owner" {
		t.Errorf("what came back is %+v", o)
	}
	s.must("undelete", "configmap", "settings")
	if out := s.must("kubectl", "get", "cm", "settings", "-o", "jsonpath={.data}"); out != `{"color":"blue","shape":"round"}` {
		t.Error(out)
	}
	s.refused([]string{"undelete", "configmap"}, "want KIND NAME or KIND/NAME")
}
