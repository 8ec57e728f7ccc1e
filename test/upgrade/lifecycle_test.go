package upgrade

import (
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

var plugins = schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}

// fails runs a command that must fail, and returns what it says.
func fails(t *testing.T, s *process.Server, args ...string) string {
	t.Helper()
	out, err := process.Run(t.Context(), nil, process.Pintle(), append([]string{"plugin"}, append(args, "--kubeconfig", s.Kubeconfig())...)...)
	if err == nil {
		t.Fatalf("pintle plugin %s worked:\n%s", strings.Join(args, " "), out)
	}
	return out + err.Error()
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q is not in:\n%s", want, text)
	}
}

// TestLife goes through what an operator does with a plugin, in one server.
func TestLife(t *testing.T) {
	s := process.New(t, process.Pintle(), "")
	s.Start()
	objects, err := dynamic.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := pack(t, s.Dir, "1.0.0")
	install := func(more ...string) []string {
		return append([]string{"install", dir, "--timeout", "2m"}, more...)
	}
	task := func(name string) error {
		_, err := objects.Resource(tasks).Namespace(namespace).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "upgrade.example/v1", "kind": "Task", "metadata": map[string]any{"name": name},
		}}, metav1.CreateOptions{})
		return err
	}

	// What is wrong is named, by the API and by the hosts.
	_, err = objects.Resource(plugins).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "core.pintle.dev/v1", "kind": "Plugin", "metadata": map[string]any{"name": "tasks"},
		"spec": map[string]any{"sauce": map[string]any{"path": "relative"}, "source": map[string]any{"path": "relative"}},
	}}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Fatalf("a wrong object: %v", err)
	}
	for _, want := range []string{`unknown field "sauce"`, "spec.source.path", "must be an absolute path", "spec.sha256: Required value"} {
		contains(t, err.Error(), want)
	}
	contains(t, fails(t, s, install()...), "sign")

	// Without a grant it runs with nothing, and says so.
	out := pintle(t, s, install("--allow-unsigned")...)
	contains(t, out, "It asks for permissions that it has not")
	contains(t, pintle(t, s, "info", "tasks"), "get,list,create configmaps (core)")
	pintle(t, s, "grant", "tasks")
	process.Eventually(t, time.Minute, "a task is reconciled once the permissions are granted", func() error {
		if err := task("first"); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		_, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "first", metav1.GetOptions{})
		return err
	})
	contains(t, pintle(t, s, "logs", "tasks", "--tail", "50"), "started as process")
	contains(t, pintle(t, s, "top"), "tasks")

	// Settings that the plugin does not take leave it as it is.
	contains(t, fails(t, s, "upgrade", "tasks", "--set", "colour=red"), "this plugin takes no settings")
	contains(t, pintle(t, s, "list"), "Healthy")
	pintle(t, s, "rollback", "tasks", "--to", "1")

	// After a restart of the server its objects are there at once.
	s.End(syscall.SIGKILL)
	s.Start()
	if _, err := objects.Resource(tasks).Namespace(namespace).Get(t.Context(), "first", metav1.GetOptions{}); err != nil {
		t.Errorf("an object of a plugin's type right after a restart: %v", err)
	}
	process.Eventually(t, time.Minute, "the plugin takes writes after a restart", func() error { return task("second") })

	// It is not removed while there are objects of its type, unless told otherwise.
	contains(t, fails(t, s, "remove", "tasks"), "2 tasks.upgrade.example")
	pintle(t, s, "remove", "tasks", "--orphan")
	served := func() bool {
		_, err := objects.Resource(tasks).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil
	}
	if served() {
		t.Error("the type of a removed plugin is still served")
	}
	if _, err := client.RbacV1().ClusterRoles().Get(t.Context(), "pintle:plugin:tasks", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("permissions of a removed plugin: %v", err)
	}
	pintle(t, s, install("--allow-unsigned", "--grant")...)
	list, err := objects.Resource(tasks).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Errorf("orphans: %v, %v", list, err)
	}
	pintle(t, s, "remove", "tasks", "--purge")
	pintle(t, s, install("--allow-unsigned", "--grant")...)
	if list, err = objects.Resource(tasks).Namespace(namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("objects after a purge: %v, %v", list, err)
	}
	pintle(t, s, "remove", "tasks")
}
