package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// instance is one launch of a plugin. There is one at a time, but while a new version or new
// settings are tried: then there is a second beside it, of which nobody sees anything until
// it takes over.
type instance struct {
	*supervisor
	entry entry
	// spec is the entry's, with the files that were fetched for it.
	spec     Spec
	artifact Artifact
	guest    *guest
	info     plugin.Info
	granted  []policyRule
	types    []*crd.Definition // that it brings
	revoke   func()            // takes its credentials back
	withdraw func()            // takes it away from plugins that call it, nil where none can
	// failed is where its extension points say that they have become useless.
	failed chan error
	// work is what it has under way, nil where that was not begun.
	work *work
	// goes says that it ends and none will follow it.
	goes bool
	// calls to its process that have no answer yet.
	calls underway

	mu   sync.Mutex
	cell *confine.Cell // of the process, where it has one
	// own is how it is while it is not the one that serves.
	own Status
}

func (s *supervisor) newInstance(e entry) *instance {
	i := &instance{supervisor: s, entry: e, spec: e.Spec}
	i.own = Status{Name: s.spec.Name, Placement: e.Placement, Health: HealthStarting}
	return i
}

// update changes the plugin's status, where this instance is the one that serves.
func (i *instance) update(f func(*Status)) {
	if i.serving.Load() == i {
		i.supervisor.update(f)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	f(&i.own)
}

// snapshot is how this instance is.
func (i *instance) snapshot() Status {
	if i.serving.Load() == i {
		return i.supervisor.snapshot()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.own
}

// prepare launches the instance and brings it to where it could take calls: it is who it
// says, has settings that it accepts, and its permissions.
func (i *instance) prepare(ctx context.Context) error {
	dir := filepath.Join(i.host.config.Dir, "plugins", i.spec.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("private directory: %w", err)
	}
	if err := i.fetch(ctx); err != nil {
		return err
	}
	if err := i.awaitRequired(ctx); err != nil {
		return err
	}
	api, revoke, err := i.host.config.API(ctx, i.spec.Name)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if revoke == nil {
		revoke = func() {}
	}
	i.revoke = sync.OnceFunc(revoke)
	peers, leave, err := i.host.relay.admit(&i.spec)
	if err != nil {
		i.revoke()
		return err
	}
	i.revoke = sync.OnceFunc(func() { leave(); revoke() })
	env := protocol.Environment{API: api, Node: i.host.config.Node, Dir: dir, Peers: peers}
	i.out.started()
	switch i.spec.Placement {
	case Builtin:
		i.guest, err = i.embed(env)
	case Served:
		i.guest, err = i.reach(ctx, env)
	default:
		i.guest, err = i.launch(ctx, dir, env)
	}
	if err != nil {
		i.revoke()
		return err
	}
	i.failed = make(chan error, len(i.holders)+len(i.guest.runs())+1) // one of each that may fail
	started := now()
	i.update(func(st *Status) { st.StartedAt = started })
	if err := i.introduce(ctx); err != nil {
		err = i.orDeath(ctx, err)
		i.discard()
		return err
	}
	if err := i.checkTypes(ctx); err != nil {
		err = i.orDeath(ctx, err)
		i.discard()
		return err
	}
	return nil
}

// fetch gets the instance's files, where its entry says where from.
func (i *instance) fetch(ctx context.Context) error {
	if i.spec.Source == (Source{}) {
		return nil
	}
	reason := fmt.Sprintf("fetching %s", i.spec.Source)
	i.update(func(st *Status) { st.Reason = reason })
	a, err := i.held(ctx)
	if err != nil {
		return fetchError(err)
	}
	i.artifact, i.spec.Path, i.spec.SHA256 = a, a.Path, a.SHA256
	i.entry.held = &a
	i.plan.hold(i.entry)
	if m := a.Manifest; m != nil {
		i.spec.Limits = i.spec.Limits.or(m.Resources)
		i.spec.Uses, _ = i.entry.usesOf(m)
	}
	return i.fits(a.Manifest)
}

// held are the files of the instance's source: those that it held when the entry was first
// run, where they can still be had.
func (i *instance) held(ctx context.Context) (Artifact, error) {
	source := i.spec.Source
	if before := i.entry.held; before != nil {
		switch {
		case source.OCI != "" && before.Digest != "":
			source.OCI = AtDigest(source.OCI, before.Digest)
		case source.Directory != "" && before.Path != "":
			if _, err := os.Stat(before.Path); err == nil {
				return *before, nil
			}
		}
	}
	return i.host.config.Fetcher.Fetch(ctx, source) //nolint:wrapcheck // fetchError does
}

// discard ends an instance that nobody is connected with.
func (i *instance) discard() {
	i.guest.stop()
	i.revoke()
}

// attachAll connects the callers of the plugin's extension points with this instance. Where
// it fails those that were reached stay connected.
func (i *instance) attachAll(ctx context.Context) error {
	if i.withdraw == nil {
		i.withdraw = i.host.relay.offer(i.guest, &i.calls)
	}
	for _, point := range i.guest.points {
		h, ok := i.holders[point]
		if !ok {
			continue
		}
		i.attached[point] = i
		if err := h.attach(remote.WithReads(ctx, i.mayRead), i.guest, i.failed); err != nil {
			return err
		}
	}
	return nil
}

// detachAll takes the instance away from those callers who are connected with it.
func (i *instance) detachAll() {
	if i.withdraw != nil {
		i.withdraw()
	}
	for point, who := range i.attached {
		if who == i {
			i.holders[point].detach()
			delete(i.attached, point)
		}
	}
}

// work is what a plugin does until it is told to stop.
type work struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// startWork sets the plugin's controllers and schedulers to work.
func (i *instance) startWork(ctx context.Context) {
	runs := i.guest.runs()
	if len(runs) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	i.work = &work{cancel: cancel}
	failed := i.failed
	for _, run := range runs {
		i.work.all.Go(func() {
			if err := run(ctx, i.guest.env); ctx.Err() == nil {
				if err == nil {
					err = errors.New("it returned without having been told to stop")
				}
				failed <- err
			}
		})
	}
}

// stopWork tells a plugin's work to stop and waits, but not forever, until it has. It
// reports whether it did.
func (i *instance) stopWork() bool {
	if i.work == nil {
		return true
	}
	w := i.work
	i.work = nil
	w.cancel()
	stopped := make(chan struct{})
	go func() {
		w.all.Wait()
		close(stopped)
	}()
	patience := time.NewTimer(i.host.config.StopTimeout)
	defer patience.Stop()
	select {
	case <-stopped:
		return true
	case <-patience.C:
		i.out.note("did not stop within %s and is killed", i.host.config.StopTimeout)
		i.tell(corev1.EventTypeWarning, eventStopTimeout, fmt.Sprintf("It did not stop within %s and is killed", i.host.config.StopTimeout))
		return false
	}
}
