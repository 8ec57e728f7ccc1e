package history_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

func owner() *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "uid", Annotations: map[string]string{"why": "x"}}}
}

func template(image string) *v1.PodTemplateSpec {
	grace := int64(30)
	return &v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}},
		Spec:       v1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []v1.Container{{Name: "c", Image: image, Args: []string{"<&>"}}}},
	}
}

func revision(t *testing.T, image string, number int64) *appsv1.ControllerRevision {
	t.Helper()
	r, err := history.New(owner(), kind, template(image), number)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARevisionHoldsATemplate(t *testing.T) {
	r := revision(t, "one", 3)
	if !strings.HasPrefix(string(r.Data.Raw), `{"spec":{"template":{"$patch":"replace","metadata"`) {
		t.Errorf("data: %s", r.Data.Raw)
	}
	if r.Revision != 3 || r.Labels["app"] != "a" || r.Annotations["why"] != "x" || metav1.GetControllerOf(r).UID != "uid" {
		t.Errorf("revision: %+v", r)
	}
	got, err := history.Template(r)
	if err != nil || got.Spec.Containers[0].Image != "one" || *got.Spec.TerminationGracePeriodSeconds != 30 {
		t.Errorf("template: %+v, %v", got, err)
	}
	if _, err := history.Template(&appsv1.ControllerRevision{}); err == nil {
		t.Error("a revision without data holds a template")
	}
}

func TestSame(t *testing.T) {
	a := revision(t, "one", 1)
	b := revision(t, "one", 2)
	// Servers may write the same in another way.
	b.Data.Raw = []byte(strings.NewReplacer(`\u003c\u0026\u003e`, `<&>`, `,"`, `, "`).Replace(string(b.Data.Raw)))
	if string(a.Data.Raw) == string(b.Data.Raw) || !history.Same(a, b) {
		t.Errorf("not the same: %s, %s", a.Data.Raw, b.Data.Raw)
	}
	if history.Same(a, revision(t, "two", 1)) {
		t.Error("two templates are the same")
	}
}

func TestHashes(t *testing.T) {
	zero, one := int32(0), int32(1)
	a, b := revision(t, "one", 1), revision(t, "two", 1)
	seen := map[string]bool{}
	for _, hash := range []string{
		history.DataHash(a, &zero), history.DataHash(a, &one), history.DataHash(a, nil), history.DataHash(b, nil),
		history.TemplateHash(template("one"), nil), history.TemplateHash(template("one"), &one), history.TemplateHash(template("two"), nil),
	} {
		if seen[hash] {
			t.Errorf("%s comes twice", hash)
		}
		seen[hash] = true
	}
	if history.DataHash(a, &zero) != history.DataHash(revision(t, "one", 9), &zero) {
		t.Error("the hash depends on the number")
	}
}

func TestExpired(t *testing.T) {
	var list []*appsv1.ControllerRevision
	for i := range 5 {
		list = append(list, &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}, Revision: int64(i)})
	}
	limit := func(n int32) *int32 { return &n }
	used := func(r *appsv1.ControllerRevision) bool { return r.Name == "1" || r.Name == "4" }
	for _, tt := range []struct {
		limit *int32
		want  string
	}{{nil, ""}, {limit(3), ""}, {limit(2), "0"}, {limit(1), "02"}, {limit(0), "023"}, {limit(-1), ""}} {
		got := ""
		for _, r := range history.Expired(list, tt.limit, used) {
			got += r.Name
		}
		if got != tt.want {
			t.Errorf("limit %v: %q, want %q", tt.limit, got, tt.want)
		}
	}
}

func store(t *testing.T, client *fake.Clientset) *history.Store {
	kit := control.Kit{Client: client, Informers: informers.NewSharedInformerFactory(client, 0)}
	t.Cleanup(kit.Informers.Shutdown)
	return history.NewStore(kit, kind, func(context.Context, string, string) (metav1.Object, error) { return owner(), nil }, nil)
}

func TestCreateAvoidsNamesOfOtherData(t *testing.T) {
	client := fake.NewClientset()
	s := store(t, client)
	// A hash that says nothing but how often it was asked for.
	namer := history.Namer{Label: "hash", Hash: func(collisions *int32) string {
		if collisions == nil {
			return "h"
		}
		return fmt.Sprint("h", *collisions)
	}}
	for _, tt := range []struct {
		image, name string
		collisions  int32
	}{{"one", "web-h", 0}, {"two", "web-h1", 1}, {"three", "web-h2", 2}, {"one", "web-h", 0}} {
		made, collisions, err := s.Create(t.Context(), owner(), revision(t, tt.image, 1), namer, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := int32(0)
		if collisions != nil {
			n = *collisions
		}
		if made.Name != tt.name || n != tt.collisions || made.Labels["hash"] != strings.TrimPrefix(tt.name, "web-") {
			t.Errorf("%s: %s %v after %d collisions", tt.image, made.Name, made.Labels, n)
		}
	}
	list, err := s.Of(t.Context(), owner(), labels.SelectorFromSet(labels.Set{"app": "a"}))
	if err != nil || len(list) != 3 {
		t.Fatalf("revisions: %v, %v", list, err)
	}
}

func TestOfAdoptsAndSorts(t *testing.T) {
	orphan, mine, foreign := revision(t, "one", 7), revision(t, "two", 2), revision(t, "three", 1)
	orphan.Name, mine.Name, foreign.Name = "orphan", "mine", "foreign"
	orphan.OwnerReferences = nil
	foreign.OwnerReferences[0].UID = "another"
	client := fake.NewClientset(orphan, mine, foreign)
	list, err := store(t, client).Of(t.Context(), owner(), labels.SelectorFromSet(labels.Set{"app": "a"}))
	if err != nil || len(list) != 2 || list[0].Name != "mine" || list[1].Name != "orphan" || history.Next(list) != 8 {
		t.Errorf("revisions: %v, %v", list, err)
	}
	adopted, err := client.AppsV1().ControllerRevisions("default").Get(t.Context(), "orphan", metav1.GetOptions{})
	if err != nil || metav1.GetControllerOf(adopted) == nil {
		t.Errorf("not adopted: %+v, %v", adopted, err)
	}
}

// TestNamesAreUpstreams holds the names to those that kube-controller-manager 1.36.3 gave
// for the same templates: with others, every pod would be restarted when one controller
// takes over from the other.
func TestNamesAreUpstreams(t *testing.T) {
	const common = `"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}}`
	const web = `{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"args":["\u003ca\u003e\u0026b"],"env":[{"name":"A","value":"x"}],"image":"nginx:1","imagePullPolicy":"IfNotPresent","livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"name":"c","resources":{"requests":{"cpu":"100m","memory":"1Gi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],` + common
	const daemon = `{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"ds"}},"spec":{"containers":[{"image":"nginx:1","imagePullPolicy":"IfNotPresent","name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"100m","memory":"1Gi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","nodeSelector":{"false":"where"},"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}}`
	parse := func(data string) (*v1.PodTemplateSpec, *appsv1.ControllerRevision) {
		stored := &appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(data)}}
		template, err := history.Template(stored)
		if err != nil {
			t.Fatal(err)
		}
		made, err := history.New(owner(), kind, template, 1)
		if err != nil {
			t.Fatal(err)
		}
		if string(made.Data.Raw) != data {
			t.Errorf("data: %s, want %s", made.Data.Raw, data)
		}
		return template, made
	}
	zero := int32(0)
	if _, r := parse(web); history.DataHash(r, &zero) != "69bc5f5976" {
		t.Errorf("StatefulSet: %s", history.DataHash(r, &zero))
	}
	if template, _ := parse(daemon); history.TemplateHash(template, nil) != "7d4954668b" {
		t.Errorf("DaemonSet: %s", history.TemplateHash(template, nil))
	}
}
