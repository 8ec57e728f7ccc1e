// Command definitions measures what CustomResourceDefinitions cost a real server: until one
// is established, in memory, and at a start.
//
//	definitions [-n 1000] [-settle 10s] PINTLE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	n := flag.Int("n", 1000, "number of definitions")
	settle := flag.Duration("settle", 10*time.Second, "how long the server is left alone before its memory is read; it collects garbage every two minutes at the latest")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *n, *settle); err != nil {
		fmt.Fprintln(os.Stderr, "definitions:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pintle string, n int, settle time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "definitions")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &server{pintle: pintle, dir: dir, settle: settle}
	if _, err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	config, err := s.config()
	if err != nil {
		return err
	}
	crds, err := apiextensions.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := s.report("idle", 0); err != nil {
		return err
	}
	began := time.Now()
	established, err := define(ctx, crds, n)
	if err != nil {
		return err
	}
	fmt.Printf("established after: p50 %s, p99 %s, all in %s\n", established[n/2], established[n*99/100], time.Since(began).Round(time.Millisecond))
	if err := s.report("defined", n); err != nil {
		return err
	}
	if err := use(ctx, objects, n); err != nil {
		return err
	}
	if err := s.report("an object of each created and listed", n); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	ready, err := s.start(ctx)
	if err != nil {
		return err
	}
	fmt.Println("the server says that it was ready after", ready)
	return s.report("restarted", n)
}

// define creates n definitions and returns how long each took to be established, sorted.
func define(ctx context.Context, crds *apiextensions.ApiextensionsV1Client, n int) ([]time.Duration, error) {
	out := make([]time.Duration, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range n {
		group.Go(func() error {
			began := time.Now()
			d, err := crds.CustomResourceDefinitions().Create(ctx, definition(i), metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("create definition %d: %w", i, err)
			}
			if err := awaitEstablished(ctx, crds, d); err != nil {
				return err
			}
			out[i] = time.Since(began).Round(100 * time.Microsecond)
			return nil
		})
	}
	err := group.Wait()
	slices.Sort(out)
	return out, err
}

func awaitEstablished(ctx context.Context, crds *apiextensions.ApiextensionsV1Client, d *apiextensionsv1.CustomResourceDefinition) error {
	w, err := crds.CustomResourceDefinitions().Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + d.Name, ResourceVersion: d.ResourceVersion,
	})
	if err != nil {
		return fmt.Errorf("watch definition %s: %w", d.Name, err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		d, ok := e.Object.(*apiextensionsv1.CustomResourceDefinition)
		if !ok {
			continue
		}
		for _, c := range d.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
	}
	return fmt.Errorf("the watch of definition %s ended before it was established", d.Name)
}

// use creates and lists an object of each type.
func use(ctx context.Context, client dynamic.Interface, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range n {
		group.Go(func() error {
			names := definition(i).Spec
			things := client.Resource(schema.GroupVersionResource{Group: names.Group, Version: "v1", Resource: names.Names.Plural}).Namespace("default")
			o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"field001": map[string]any{"name": "a"}}}}
			o.SetAPIVersion(names.Group + "/v1")
			o.SetKind(names.Names.Kind)
			o.SetName("one")
			if _, err := things.Create(ctx, o, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create an object of type %d: %w", i, err)
			}
			list, err := things.List(ctx, metav1.ListOptions{})
			if err != nil || len(list.Items) != 1 {
				return fmt.Errorf("list of type %d: %d objects: %w", i, len(list.Items), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// definition is one whose schema has some 10 KB.
func definition(i int) *apiextensionsv1.CustomResourceDefinition {
	plural, kind, group := fmt.Sprintf("things%04d", i), fmt.Sprintf("Thing%04d", i), fmt.Sprintf("g%d.example.com", i%20)
	one, sixtyThree, ten, hundred := 0.0, int64(63), int64(10), int64(100)
	part := func(n int) apiextensionsv1.JSONSchemaProps {
		out := map[string]apiextensionsv1.JSONSchemaProps{}
		for k := range n {
			out[fmt.Sprintf("field%03d", k)] = apiextensionsv1.JSONSchemaProps{
				Type:        "object",
				Description: fmt.Sprintf("Field %d of type %d holds what a controller wants to know about part %d of the object.", k, i, k),
				Properties: map[string]apiextensionsv1.JSONSchemaProps{
					"name":  {Type: "string", MaxLength: &sixtyThree, Pattern: "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
					"count": {Type: "integer", Minimum: &one, Default: &apiextensionsv1.JSON{Raw: []byte(strconv.Itoa(k))}},
					"items": {Type: "array", MaxItems: &ten, Items: &apiextensionsv1.JSONSchemaPropsOrArray{
						Schema: &apiextensionsv1.JSONSchemaProps{Type: "string", MaxLength: &hundred},
					}},
				},
			}
		}
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: out}
	}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: plural + "x", Kind: kind, ListKind: kind + "List"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": part(24), "status": part(6)},
				}},
				AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{{Name: "Count", Type: "integer", JSONPath: ".spec.field001.count"}},
			}},
		},
	}
}

// server is the server measured.
type server struct {
	pintle, dir string
	cmd         *exec.Cmd
	settle      time.Duration
	idle        int // KiB, before there was any definition
}

var readyAfter = regexp.MustCompile(`msg=ready .*after=(\S+)`)

// start starts the server and returns what it says of how long that took.
func (s *server) start(ctx context.Context) (string, error) {
	config, log := filepath.Join(s.dir, "config.yaml"), filepath.Join(s.dir, fmt.Sprintf("log-%d", rand.Uint32()))
	if err := os.WriteFile(config, []byte("plugins: []\n"), 0o600); err != nil {
		return "", err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	out, err := os.Create(log)
	if err != nil {
		return "", err
	}
	defer out.Close()
	s.cmd = exec.CommandContext(ctx, s.pintle, "server", "--config", config, "--data-dir", s.data(), "--api.listen", address)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return "", err
	}
	for range 600 {
		text, err := os.ReadFile(log)
		if err != nil {
			return "", err
		}
		if m := readyAfter.FindSubmatch(text); m != nil {
			return string(m[1]), nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", errors.New("the server was not ready within 30 s")
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	err = errors.Join(err, s.cmd.Wait())
	s.cmd = nil
	return err
}

func (s *server) config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.data(), "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = -1, 0
	return config, nil
}

var pss = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// report prints the server's memory once it has settled.
func (s *server) report(what string, n int) error {
	time.Sleep(s.settle)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.cmd.Process.Pid))
	if err != nil {
		return err
	}
	m := pss.FindSubmatch(text)
	if m == nil {
		return errors.New("the kernel does not say Pss")
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return err
	}
	if s.idle == 0 {
		s.idle = kib
	}
	fmt.Printf("%s: %d definitions, PSS %.1f MiB, %+.1f MiB\n", what, n, float64(kib)/1024, float64(kib-s.idle)/1024)
	return nil
}
