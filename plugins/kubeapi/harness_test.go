package kubeapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/test/golden"
)

// record makes the tests ask a kube-apiserver what is right, and write its answers to
// testdata, instead of comparing with what it once answered. The namespace "kubeapi" with
// a service account "default" must be there.
var record = flag.String("record", "", "kubeconfig of a kube-apiserver to take expectations from")

const namespace = "kubeapi"

var newRegistry = sync.OnceValues(func() (*registry.Registry, error) {
	r := registry.New()
	definitions, err := bundle.Definitions()
	if err != nil {
		return nil, err
	}
	for _, d := range definitions {
		if err := r.Register(d); err != nil {
			return nil, err
		}
	}
	return r, nil
})

var bundle = kubeapi.New(kubeapi.Options{})

// typeOf finds the type of an object.
func typeOf(tb testing.TB, o map[string]any) *registry.Type {
	tb.Helper()
	r, err := newRegistry()
	if err != nil {
		tb.Fatal(err)
	}
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	t, ok := r.LookupKind(runtimeschema.FromAPIVersionAndKind(version, kind))
	if !ok {
		tb.Fatalf("no type serves %s %s", version, kind)
	}
	return t
}

// objects is a resource.Reader over a few objects.
type objects map[string]map[string]any

func (o objects) Get(_ context.Context, gr runtimeschema.GroupResource, namespace, name string) (map[string]any, error) {
	return o[gr.String()+"/"+namespace+"/"+name], nil
}

func (o objects) List(_ context.Context, gr runtimeschema.GroupResource, namespace string) ([]map[string]any, error) {
	var out []map[string]any
	for key, v := range o {
		if strings.HasPrefix(key, gr.String()+"/"+namespace) {
			out = append(out, v)
		}
	}
	return out, nil
}

var cluster = objects{
	"serviceaccounts/" + namespace + "/default": {"metadata": map[string]any{"name": "default", "namespace": namespace}},
}

// newRequest is a request for the creation of an object, or for its update where there is
// an old one.
func newRequest(t *registry.Type, o, old map[string]any, subresource string) *resource.Request {
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	r := &resource.Request{
		Operation: resource.Create, Resource: t.GVR, Kind: t.GVK, Subresource: subresource, Name: name,
		User: resource.User{Name: "test", Groups: []string{"system:masters"}}, Object: o, Old: old, Reader: cluster, DryRun: true,
	}
	if t.Definition.Namespaced() {
		r.Namespace = namespace
		meta["namespace"] = namespace
	}
	if old != nil {
		r.Operation = resource.Update
	} else if meta != nil {
		meta["uid"] = "01234567-89ab-cdef-0123-456789abcdef" // the server has given it by then
	}
	return r
}

// write takes a request the way the server does and returns what is wrong with it.
func write(tb testing.TB, t *registry.Type, r *resource.Request) error {
	tb.Helper()
	ctx := context.Background()
	compiled, err := t.Compiled()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := compiled.Normalize(r.Object); err != nil {
		var mistyped *schema.DecodeError
		if errors.As(err, &mistyped) {
			return apierrors.NewBadRequest(err.Error())
		}
		tb.Fatal(err)
	}
	compiled.Default(r.Object)
	hooks := bundle.Hooks(t.GVR.GroupResource())
	if h, ok := hooks.(resource.Defaulter); ok {
		if err := h.Default(ctx, r); err != nil {
			return err
		}
	}
	if h, ok := hooks.(resource.Admitter); ok {
		if err := h.Admit(ctx, r); err != nil {
			return err
		}
	}
	if h, ok := hooks.(resource.Preparer); ok {
		if err := h.Prepare(ctx, r); err != nil {
			return err
		}
	}
	errs := compiled.Validate(ctx, r.Object, r.Old)
	if h, ok := hooks.(resource.Validator); ok {
		errs = append(errs, h.Validate(ctx, r)...)
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(t.GVK.GroupKind(), r.Name, errs)
	}
	return nil
}

// verdict is what a server says to a write: its causes, or its message where it has none.
func verdict(err error) []string {
	var status apierrors.APIStatus
	if err == nil {
		return nil
	}
	if !errors.As(err, &status) {
		return []string{err.Error()}
	}
	s := status.Status()
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return []string{fmt.Sprintf("%d: %s", s.Code, s.Message)}
	}
	var out []string
	for _, c := range s.Details.Causes {
		out = append(out, fmt.Sprintf("%s | %s | %s", c.Field, c.Type, trim(c.Message)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// trim leaves of a message what does not depend on how a value is printed: Go structures
// there, JSON here.
func trim(message string) string {
	message = golden.SortValues(message)
	if kind, rest, ok := strings.Cut(message, ": "); ok && strings.HasSuffix(kind, " value") && strings.HasPrefix(rest, "{") {
		if i := strings.LastIndex(rest, "}: "); i >= 0 {
			return kind + ": " + rest[i+3:]
		}
	}
	if head, _, ok := strings.Cut(message, "\n"); ok {
		return head
	}
	return message
}

// ints makes of JSON's floats the integers they are, as the server's decoder does.
func ints(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = ints(v[k])
		}
	case []any:
		for i := range v {
			v[i] = ints(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

func parse(tb testing.TB, text string) map[string]any {
	tb.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		tb.Fatalf("%v in\n%s", err, text)
	}
	ints(o)
	return o
}

func clone(tb testing.TB, o map[string]any) map[string]any {
	tb.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, string(raw))
}

// peer is a kube-apiserver.
type peer struct{ client dynamic.Interface }

func newPeer(tb testing.TB) *peer {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", *record)
	if err != nil {
		tb.Fatal(err)
	}
	config.QPS, config.Burst = -1, 0
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return &peer{client}
}

func (p *peer) on(t *registry.Type) dynamic.ResourceInterface {
	if t.Definition.Namespaced() {
		return p.client.Resource(t.GVR).Namespace(namespace)
	}
	return p.client.Resource(t.GVR)
}

// create asks for the creation of an object that is not kept.
func (p *peer) create(t *registry.Type, o map[string]any) (map[string]any, error) {
	out, err := p.on(t).Create(context.Background(), &unstructured.Unstructured{Object: o},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationIgnore})
	if err != nil {
		return nil, err
	}
	return out.Object, nil
}
