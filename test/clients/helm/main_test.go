package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

// The programs under test; the environment variables PINTLE and HELM name built ones.
var pintle, helm string

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "pintle-helm")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if pintle, err = process.Program(context.Background(), "PINTLE", "../../..", "./cmd/pintle", dir); err != nil {
		return 0, err
	}
	if helm, err = process.Program(context.Background(), "HELM", ".", "helm.sh/helm/v4/cmd/helm", dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// suite is a cluster with a hollow node, and Helm as its administrator.
type suite struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	mapper  meta.ResettableRESTMapper
	env     []string
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	kubeconfig := process.Start(t, pintle, "plugins: [{name: scheduler}, {name: workloads}]\n").Kubeconfig()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	s := &suite{}
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.client.Discovery()))
	home := t.TempDir()
	s.env = []string{
		"KUBECONFIG=" + kubeconfig, "HOME=" + home, "HELM_CACHE_HOME=" + filepath.Join(home, "cache"),
		"HELM_CONFIG_HOME=" + filepath.Join(home, "config"), "HELM_DATA_HOME=" + filepath.Join(home, "data"),
	}
	startHollow(t, s.client)
	return s
}

// helm runs Helm and returns what it says.
func (s *suite) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(t, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// fails runs Helm, which must fail and name all of the words.
func (s *suite) fails(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, err := s.try(t, args...)
	if err == nil {
		t.Fatalf("helm %s works: %s", strings.Join(args, " "), out)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in %v", w, err)
		}
	}
}

func (s *suite) try(t *testing.T, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	return process.Run(ctx, s.env, helm, args...)
}

// release is what `helm status -o json` says of one.
type release struct {
	Name      string `json:"name"`
	Version   int    `json:"version"`
	Namespace string `json:"namespace"`
	Manifest  string `json:"manifest"`
	Method    string `json:"apply_method"`
	Info      struct {
		Status string `json:"status"`
		Notes  string `json:"notes"`
	} `json:"info"`
	Hooks []hook `json:"hooks"`
}

type hook struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Events  []string `json:"events"`
	LastRun struct {
		Started   time.Time `json:"started_at"`
		Completed time.Time `json:"completed_at"`
		Phase     string    `json:"phase"`
	} `json:"last_run"`
}

func (s *suite) status(t *testing.T, name, namespace string) release {
	t.Helper()
	return parse[release](t, s.helm(t, "status", name, "-n", namespace, "-o", "json"))
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// objects are the objects of a manifest.
func objects(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		case len(o.Object) > 0:
			all = append(all, o)
		}
	}
}

// get reads an object as the server has it now.
func (s *suite) get(t *testing.T, o *unstructured.Unstructured, namespace string) (*unstructured.Unstructured, error) {
	t.Helper()
	gvk := o.GroupVersionKind()
	m, err := s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		s.mapper.Reset()
		if m, err = s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
			t.Fatal(err)
		}
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return s.dynamic.Resource(m.Resource).Get(t.Context(), o.GetName(), metav1.GetOptions{})
	}
	return s.dynamic.Resource(m.Resource).Namespace(namespace).Get(t.Context(), o.GetName(), metav1.GetOptions{})
}

// gone says which of the objects are still there.
func (s *suite) gone(t *testing.T, all []*unstructured.Unstructured, namespace string) error {
	t.Helper()
	for _, o := range all {
		switch _, err := s.get(t, o, namespace); {
		case err == nil:
			return fmt.Errorf("%s %s is still there", o.GetKind(), o.GetName())
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func (s *suite) configMap(t *testing.T, namespace, name string) *corev1.ConfigMap {
	t.Helper()
	c, err := s.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
