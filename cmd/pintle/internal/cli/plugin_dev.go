package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/author"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

const pluginDevHelp = `Build the Go plugin in a directory, install it into a running cluster on this machine, print its
log, and do so again whenever its source changes. What does not compile, and what the cluster
refuses, leaves the version before running; what fails within two seconds gives way to it.

The plugin is installed from the directory's .pintle-dev, unsigned, with all permissions that its
plugin.yaml asks for. It stays installed when the command ends, unless --remove is given.

With --debug its own packages are built for a debugger, and Delve (dlv) is attached and waits on a fixed socket
for editors and for ` + "`dlv connect unix:SOCKET`" + `. A plugin that a debugger holds is not taken for hung.`

func newPluginDev() *cobra.Command {
	d := &devLoop{}
	var o options
	var kubeconfig, settings string
	cmd := &cobra.Command{
		Use: "dev [DIRECTORY]", Short: "Build a plugin, run it in a cluster, and again after each change", Args: cobra.MaximumNArgs(1),
		Long: pluginDevHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			var err error
			if d.dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			if kubeconfig == "" {
				kubeconfig = layout.Dir(o.dataDir).Kubeconfig()
			}
			if err := d.connect(cmd.Context(), kubeconfig, settings); err != nil {
				return err
			}
			d.out, d.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return d.run(cmd.Context())
		},
	}
	o.registerDataDir(cmd)
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default that of --data-dir)")
	f.StringVar(&settings, "settings", "", "file with the plugin's settings, YAML")
	f.BoolVar(&d.debug, "debug", false, "attach Delve, which waits on a socket")
	f.StringVar(&d.socket, "debug-socket", "", "where it waits (default DIRECTORY/.pintle-dev/debug.sock)")
	f.BoolVar(&d.once, "once", false, "build and install once, and return when it runs")
	f.BoolVar(&d.remove, "remove", false, "remove the plugin at the end")
	f.DurationVar(&d.timeout, "timeout", time.Minute, "with --once: how long it may take until it runs")
	return cmd
}

// Times of the loop.
const (
	devPoll        = 150 * time.Millisecond
	devWatchPeriod = 2 * time.Second
	devManager     = "pintle-plugin-dev"
	labelKeptBy    = "core.pintle.dev/host" // on objects that the configuration has made
)

// devLoop is one `pintle plugin dev`.
type devLoop struct {
	dir, socket         string
	debug, once, remove bool
	timeout             time.Duration
	settings            map[string]any
	client              dynamic.ResourceInterface
	out, err            io.Writer

	built    *author.Built
	shown    string // the status that was printed last
	debugger *author.Debugger
	debugged int64 // its process
}

func (d *devLoop) connect(ctx context.Context, kubeconfig, settings string) error {
	if settings != "" {
		text, err := os.ReadFile(settings)
		if err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		if err := yaml.UnmarshalStrict(text, &d.settings); err != nil {
			return fmt.Errorf("settings %s: %w", settings, err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("there is no cluster to run the plugin in: %w (`pintle up` starts one)", err)
	}
	if err := author.OnThisMachine(ctx, config.Host); err != nil {
		return fmt.Errorf("%w: what is developed is run from its directory, where the server reads it. Use a cluster on this machine (`pintle up`), or give that one a release of the plugin (`pintle plugin push`, then `pintle plugin install`)", err)
	}
	config.Timeout = callTimeout
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	d.client = client.Resource(host.Resource())
	if d.debug {
		_, err = author.FindDelve()
	}
	return err
}

func (d *devLoop) printf(format string, args ...any) { fmt.Fprintf(d.out, "-- "+format+"\n", args...) }

func (d *devLoop) run(ctx context.Context) error {
	if d.once {
		ctx, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		if err := d.install(ctx); err != nil {
			return err
		}
		return d.running(ctx)
	}
	changes, err := author.Watch(ctx, d.dir)
	if err != nil {
		return err
	}
	if err := d.installOrSay(ctx); err != nil {
		return err
	}
	if d.built == nil {
		d.printf("waiting for a change")
	}
	ctx, cancel := context.WithCancel(ctx)
	logs := make(chan struct{})
	close(logs)
	following := ""
	defer func() {
		cancel()
		<-logs
		d.end()
	}()
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	for {
		select {
		case <-changes:
			if err := d.installOrSay(ctx); err != nil {
				return err
			}
		case <-tick.C:
			if d.built == nil {
				continue
			}
			st, err := d.status(ctx)
			if ctx.Err() != nil {
				continue
			}
			if err != nil {
				d.show("the cluster does not answer: %v", err)
				continue
			}
			d.tell(st)
			if st.LogFile != "" && following == "" {
				following = st.LogFile
				logs = make(chan struct{})
				go func() {
					defer close(logs)
					if err := author.Follow(ctx, following, d.out, false); err != nil {
						fmt.Fprintf(d.err, "log of the plugin: %v\n", err)
					}
				}()
			}
			d.attach(ctx, st)
		case <-ctx.Done():
			return nil
		}
	}
}

// installOrSay installs what is there now. What the author can mend is printed.
func (d *devLoop) installOrSay(ctx context.Context) error {
	err := d.install(ctx)
	if errors.Is(err, errNotOurs) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(d.err, err)
		if d.built != nil {
			d.printf("%s stays as it was", d.built.Manifest.Name)
		}
	}
	return nil
}

// errNotOurs ends the loop: it is not the author's code that is wrong.
var errNotOurs = errors.New("it is in the cluster's configuration, which would put it back: take it out of plugins there first")

// install builds the plugin and makes it what the cluster is to run.
func (d *devLoop) install(ctx context.Context) error {
	b, err := author.Build(ctx, d.dir, filepath.Join(d.dir, author.BuildDir), d.debug)
	if err != nil {
		return err
	}
	if d.built != nil && d.built.SHA256 == b.SHA256 {
		d.printf("built in %s: the same as before", b.Took.Round(10*time.Millisecond))
		return nil
	}
	name := b.Manifest.Name
	have, err := d.client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && have.GetLabels()[labelKeptBy] != "":
		return fmt.Errorf("plugin %s: %w", name, errNotOurs)
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("plugin %s: %w", name, err)
	}
	patch, err := json.Marshal(d.object(b))
	if err != nil {
		return err
	}
	force := true
	_, err = d.client.Patch(ctx, name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: devManager, Force: &force})
	if err != nil {
		return fmt.Errorf("plugin %s: %w", name, err)
	}
	first := d.built == nil
	d.built = b
	d.printf("%s %s built in %s", name, b.Manifest.Version, b.Took.Round(10*time.Millisecond))
	if first && forNodes(b.Manifest) {
		d.printf("%s is for nodes. Here it runs beside the server, where nobody asks it: name it in a node's configuration, with nodeScoped: true", name)
	}
	return nil
}

// forNodes reports whether all that a plugin offers is asked for on nodes only.
func forNodes(m *manifest.Manifest) bool {
	return !slices.ContainsFunc(m.Points, func(p string) bool {
		return p != string(protocol.PointNetwork) && p != string(protocol.PointRuntimeDriver)
	})
}

// object is the wish for the plugin as it was built.
func (d *devLoop) object(b *author.Built) map[string]any {
	spec := map[string]any{
		"source":        map[string]any{"directory": b.Dir},
		"sha256":        b.SHA256,
		"allowUnsigned": true,
		"permissions":   map[string]any{"grant": "Requested"},
		// The next build may come soon: what is proven by then is what a bad one gives way to.
		"replacement": map[string]any{"watchPeriod": devWatchPeriod.String()},
	}
	if b.Manifest.Network {
		spec["network"] = true
	}
	if d.settings != nil {
		spec["settings"] = d.settings
	}
	return map[string]any{
		"apiVersion": host.Group + "/" + host.Version, "kind": host.Kind,
		"metadata": map[string]any{"name": b.Manifest.Name}, "spec": spec,
	}
}

// devStatus is what the loop reads of a plugin's object.
type devStatus struct {
	Generation         int64
	ObservedGeneration int64  `json:"observedGeneration"`
	SHA256             string `json:"sha256"`
	Health             string `json:"health"`
	Reason             string `json:"reason"`
	PID                int64  `json:"pid"`
	LogFile            string `json:"logFile"`
	Conditions         []metav1.Condition
}

func (d *devLoop) status(ctx context.Context) (*devStatus, error) {
	u, err := d.client.Get(ctx, d.built.Manifest.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	tree, _, _ := unstructured.NestedMap(u.Object, "status")
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	st := &devStatus{}
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("status of plugin %s: %w", u.GetName(), err)
	}
	st.Generation = u.GetGeneration()
	return st, nil
}

// refused says why the cluster does not run what was built, where that is so.
func (d *devLoop) refused(st *devStatus) string {
	if st.ObservedGeneration < st.Generation {
		return ""
	}
	if st.Health == string(host.HealthRefused) {
		return st.Reason
	}
	return d.upgrade(st, string(host.RevisionRefused))
}

// upgrade says why the last upgrade has ended in a state, where it has.
func (d *devLoop) upgrade(st *devStatus, state string) string {
	for _, c := range st.Conditions {
		if c.Type == host.ConditionUpgraded && c.Status == metav1.ConditionFalse && c.Reason == state {
			return c.Message
		}
	}
	return ""
}

// gaveWay says why what was built runs no more, where the version before it does so again.
func (d *devLoop) gaveWay(st *devStatus) string {
	if st.ObservedGeneration < st.Generation || d.ours(st) {
		return ""
	}
	return d.upgrade(st, string(host.RevisionRolledBack))
}

// ours reports whether what was built is what runs.
func (d *devLoop) ours(st *devStatus) bool {
	return st.ObservedGeneration >= st.Generation && st.SHA256 == d.built.SHA256 &&
		(st.Health == string(host.HealthHealthy) || st.Health == string(host.HealthStandby))
}

// show prints a line where it is not the one before.
func (d *devLoop) show(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); line != d.shown {
		d.shown = line
		d.printf("%s", line)
	}
}

func (d *devLoop) tell(st *devStatus) {
	switch why := d.refused(st); {
	case why != "":
		d.show("refused: %s", why)
	case d.gaveWay(st) != "":
		d.show("it failed, and the version before runs again: %s", d.gaveWay(st))
	case d.ours(st):
		d.show("%s runs, process %d", d.built.Manifest.Name, st.PID)
	case st.Health == string(host.HealthBackOff), st.Health == string(host.HealthUnhealthy):
		d.show("%s: %s", st.Health, st.Reason)
	}
}

// running waits until what was built runs.
func (d *devLoop) running(ctx context.Context) error {
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	var last string
	for {
		st, err := d.status(ctx)
		switch {
		case err != nil:
			last = err.Error()
		case d.refused(st) != "":
			return fmt.Errorf("plugin %s was refused: %s", d.built.Manifest.Name, d.refused(st))
		case d.gaveWay(st) != "":
			return fmt.Errorf("plugin %s failed, and the version before runs again: %s", d.built.Manifest.Name, d.gaveWay(st))
		case d.ours(st):
			d.tell(st)
			return nil
		default:
			last = fmt.Sprintf("%s %s", st.Health, st.Reason)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s does not run yet: %s (pintle plugin info %s)", d.built.Manifest.Name, last, d.built.Manifest.Name)
		}
	}
}

// attach holds the plugin's process for debuggers.
func (d *devLoop) attach(ctx context.Context, st *devStatus) {
	if !d.debug || !d.ours(st) || st.PID == 0 || st.PID == d.debugged {
		return
	}
	if d.debugger != nil {
		d.debugger.Close()
		d.debugger = nil
	}
	d.debugged = st.PID // once for each process, also where it fails
	socket := d.socket
	if socket == "" {
		socket = author.SocketFor(d.built.Dir, d.built.Manifest.Name)
	}
	debugger, err := author.Debug(ctx, int(st.PID), socket, d.err)
	if err != nil {
		fmt.Fprintln(d.err, err)
		return
	}
	d.debugger = debugger
	d.printf("process %d waits for a debugger: dlv connect unix:%s", st.PID, socket)
}

// end leaves nothing behind but, unless told otherwise, the plugin.
func (d *devLoop) end() {
	if d.debugger != nil {
		d.debugger.Close()
	}
	if d.built == nil {
		return
	}
	name := d.built.Manifest.Name
	if !d.remove {
		d.printf("%s stays installed; `pintle plugin remove %s` removes it", name, name)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := d.client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		fmt.Fprintf(d.err, "remove plugin %s: %v\n", name, err)
	}
}
