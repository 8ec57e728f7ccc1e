package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pintle-dev/pintle/sdk/controllerruntime"
	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"

	sitesv1 "example.dev/sites/api/v1"
	"example.dev/sites/internal/controller"
	"example.dev/sites/internal/setup"
)

// As an operator: its own manager with its webhook server, in a suite of envtest's that has
// Pintle's cluster in place of etcd and kube-apiserver.
func TestOperator(t *testing.T) {
	begun := time.Now()
	c := cluster.Start(t, cluster.Options{})
	existing := true
	env := &envtest.Environment{
		UseExistingCluster: &existing, Config: c.Config,
		CRDDirectoryPaths:     []string{"config/crd/bases"},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{"config/webhook"}},
	}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("the test environment has started in %s", time.Since(begun))
	hooks := env.WebhookInstallOptions
	skip := true
	options := ctrl.Options{
		Scheme: project().Options.Scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: hooks.LocalServingHost, Port: hooks.LocalServingPort, CertDir: hooks.LocalServingCertDir,
		}),
	}
	options.Controller.SkipNameValidation = &skip // the plugin of the other test has the same names
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := setup.All(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error { return mgr.GetWebhookServer().StartedChecker()(nil) })
	behaves(t, c.Config)
}

// As a plugin, in the test's process.
func TestPlugin(t *testing.T) {
	p := controllerruntime.New(project())
	c := cluster.Start(t, cluster.Options{RBAC: true, Plugins: []cluster.Plugin{{Impl: p}}})
	behaves(t, c.Config)
	if err := c.RestartPlugin(t.Context(), "sites"); err != nil {
		t.Fatal(err)
	}
	behaves(t, c.Config)
}

// As a plugin, in a process of its own.
func TestProcess(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sites")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := cluster.Start(t, cluster.Options{RBAC: true, Plugins: []cluster.Plugin{{Name: "sites", Command: []string{program}}}})
	t.Cleanup(func() {
		if t.Failed() {
			lines, err := c.PluginLogs("sites")
			t.Logf("the plugin's logs (%v):\n%s", err, strings.Join(lines, "\n"))
		}
	})
	behaves(t, c.Config)
}

// The manifest asks for what the markers of the reconcilers do.
func TestPermissions(t *testing.T) {
	role, err := os.ReadFile("config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := project().Info.Permissions, controllerruntime.Rules(role); !reflect.DeepEqual(got, want) {
		t.Errorf("plugin.yaml has\n%+v\nconfig/rbac/role.yaml\n%+v", got, want)
	}
}

// behaves is what the project promises, wherever it runs.
func behaves(t *testing.T, config *rest.Config) {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: project().Options.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "sites-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w := &world{Client: c, ns: ns.Name, host: ns.Name + ".example.com"}
	w.defaultsAndRefuses(t)
	w.serves(t)
	w.follows(t)
	w.finalizes(t)
}

type world struct {
	client.Client
	ns, host string
}

func (w *world) site(name string) *sitesv1.Site {
	return &sitesv1.Site{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: sitesv1.SiteSpec{
			Host: name + "." + w.host, Pages: map[string]string{"index.html": "<h1>" + name + "</h1>"},
		},
	}
}

func (w *world) get(t *testing.T, o client.Object) error {
	t.Helper()
	return w.Get(t.Context(), client.ObjectKeyFromObject(o), o)
}

// defaultsAndRefuses is what the webhooks do.
func (w *world) defaultsAndRefuses(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	site := w.site("plain-" + w.ns)
	site.Spec.Host = ""
	if err := w.Create(ctx, site, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if want := site.Name + ".sites.example.dev"; site.Spec.Host != want || site.Spec.Replicas == nil || *site.Spec.Replicas != 2 {
		t.Errorf("defaults: %+v, want host %s and 2 replicas", site.Spec, want)
	}
	if err := w.get(t, site); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run was written: %v", err)
	}

	slash := w.site("slash")
	slash.Spec.Pages["a/b.html"] = "x"
	if err := w.Create(ctx, slash); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "must be a file name") {
		t.Errorf("a page that is no file name: %v", err)
	}
	many := w.site("many")
	replicas := int32(21)
	many.Spec.Replicas = &replicas
	if err := w.Create(ctx, many); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.replicas") {
		t.Errorf("too many replicas: %v", err)
	}
	kept := w.site("kept")
	kept.Spec.Protected = true
	if err := w.Create(ctx, kept); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // the validator reads from its cache
		again := w.site("again")
		again.Spec.Host = kept.Spec.Host
		err := w.Create(ctx, again, client.DryRunAll)
		if apierrors.IsInvalid(err) && strings.Contains(err.Error(), "spec.host: Duplicate value") {
			return nil
		}
		return fmt.Errorf("a host that another site has: %w", errors.Join(err, errors.New("not refused")))
	})
	moved := kept.DeepCopy()
	eventually(t, func() error {
		if err := w.get(t, moved); err != nil {
			return err
		}
		moved.Spec.Host = "elsewhere." + w.host
		err := w.Update(ctx, moved)
		if apierrors.IsInvalid(err) && strings.Contains(err.Error(), "a site keeps its host") {
			return nil
		}
		return fmt.Errorf("another host: %w", errors.Join(err, errors.New("not refused")))
	})
	if err := w.Delete(ctx, kept); err == nil || !strings.Contains(err.Error(), "is protected") {
		t.Errorf("a protected site can be deleted: %v", err)
	}
}

// serves is what becomes of a site.
func (w *world) serves(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	site := w.site("blog")
	if err := w.Create(ctx, site); err != nil {
		t.Fatal(err)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "blog"}}
	eventually(t, func() error { return w.get(t, d) })
	if !metav1.IsControlledBy(d, site) || *d.Spec.Replicas != 2 {
		t.Errorf("deployment: %+v", d)
	}
	eventually(t, func() error {
		return w.get(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "blog"}})
	})
	w.condition(t, site, sitesv1.ConditionAvailable, metav1.ConditionFalse, "ReplicasMissing")
	d.Status.Replicas, d.Status.ReadyReplicas = 2, 2 // nobody else does that here
	if err := w.Status().Update(ctx, d); err != nil {
		t.Fatal(err)
	}
	w.condition(t, site, sitesv1.ConditionAvailable, metav1.ConditionTrue, "ReplicasReady")
	w.condition(t, site, sitesv1.ConditionThemed, metav1.ConditionTrue, "NoThemeWanted")

	// What is taken away comes back.
	if err := w.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "blog-pages"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		return w.get(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "blog-pages"}})
	})
	eventually(t, func() error {
		var said eventsv1.EventList
		if err := w.List(ctx, &said, client.InNamespace(w.ns)); err != nil {
			return err
		}
		for _, e := range said.Items {
			if e.Reason == "Created" && e.Regarding.Name == "blog" {
				return nil
			}
		}
		return fmt.Errorf("no event says that the deployment was made: %d events", len(said.Items))
	})
}

// follows is how a site follows its theme, found by an index.
func (w *world) follows(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	site := w.site("shop")
	site.Spec.Theme = "dark"
	if err := w.Create(ctx, site); err != nil {
		t.Fatal(err)
	}
	w.condition(t, site, sitesv1.ConditionThemed, metav1.ConditionFalse, "ThemeNotFound")
	theme := &sitesv1.Theme{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "dark"}, Spec: sitesv1.ThemeSpec{Style: "body{background:#000}"},
	}
	if err := w.Create(ctx, theme); err != nil {
		t.Fatal(err)
	}
	w.condition(t, site, sitesv1.ConditionThemed, metav1.ConditionTrue, "ThemeFound")
	before := site.Status.Digest
	eventually(t, func() error {
		if err := w.get(t, theme); err != nil {
			return err
		}
		if theme.Status.Sites != 1 {
			return fmt.Errorf("%d sites use the theme, want 1", theme.Status.Sites)
		}
		return nil
	})
	theme.Spec.Style = "body{background:#111}"
	if err := w.Update(ctx, theme); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := w.get(t, site); err != nil {
			return err
		}
		if site.Status.Digest == before {
			return errors.New("the site has the old theme")
		}
		return nil
	})
}

// finalizes is what happens before a site goes.
func (w *world) finalizes(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	hosts := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: controller.HostsName}}
	eventually(t, func() error { return w.get(t, hosts) })
	if hosts.Data["blog"] != "blog."+w.host {
		t.Errorf("hosts: %v", hosts.Data)
	}
	blog := w.site("blog")
	if err := w.Delete(ctx, blog); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := w.get(t, blog); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("the site is still there"))
		}
		return nil
	})
	if err := w.get(t, hosts); err != nil {
		t.Fatal(err)
	}
	if _, kept := hosts.Data["blog"]; kept {
		t.Errorf("the host was not given back: %v", hosts.Data)
	}
}

func (w *world) condition(t *testing.T, site *sitesv1.Site, kind string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	eventually(t, func() error {
		if err := w.get(t, site); err != nil {
			return err
		}
		c := meta.FindStatusCondition(site.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("site %s: condition %s is %+v, want %s (%s)", site.Name, kind, c, status, reason)
		}
		return nil
	})
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	var last error
	if wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	}) != nil {
		t.Fatal(last)
	}
}
