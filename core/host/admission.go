package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// admissionHolder lets a plugin take part in admission. What it has declared is kept in a file,
// so that it is missed, and not passed over, while a restarted server has not started it yet.
type admissionHolder struct {
	supervisor *supervisor
	lines      lines
}

func (h *admissionHolder) plugins() *plugins.Plugins { return h.supervisor.host.config.Admission }

func (h *admissionHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	if h.plugins() == nil {
		return nil // a host on a node: admission is the servers'
	}
	ctx, cancel := context.WithTimeout(ctx, h.supervisor.host.config.CallTimeout)
	defer cancel()
	impl, line, err := h.connect(ctx, g)
	if err != nil {
		return fmt.Errorf("its admission: %w", err)
	}
	profile, err := h.profile(impl)
	if err != nil {
		line.Close()
		return fmt.Errorf("its admission: %w", err)
	}
	drained, err := h.plugins().Attach(h.supervisor.spec.Name, profile, impl)
	if err != nil {
		line.Close()
		return err
	}
	h.lines.follow(line, drained, failed, "its admission can no longer be called")
	if err := h.remember(&profile); err != nil {
		h.supervisor.log.Warn("what the plugin is asked about is not remembered", "error", err)
	}
	return nil
}

func (h *admissionHolder) connect(ctx context.Context, g *guest) (admission.Admission, *remote.Line, error) {
	if g.client != nil {
		return g.client.Admission(ctx)
	}
	impl, ok := g.base.(admission.Admission)
	if !ok {
		return nil, nil, fmt.Errorf("it offers point %q and has no declaration", protocol.PointAdmission)
	}
	_, mutates := impl.(admission.Mutator)
	_, validates := impl.(admission.Validator)
	switch {
	case mutates && validates:
		return struct {
			admission.Admission
			ownCopy
			admission.Validator
		}{impl, ownCopy{impl.(admission.Mutator)}, impl.(admission.Validator)}, noLine(), nil
	case mutates:
		return struct {
			admission.Admission
			ownCopy
		}{impl, ownCopy{impl.(admission.Mutator)}}, noLine(), nil
	case validates:
		return impl, noLine(), nil
	}
	return nil, nil, errors.New("it implements neither admission.Mutator nor admission.Validator")
}

// ownCopy gives a mutator that is linked in an object of its own: what it has done by halves
// when it fails is not seen where that is ignored.
type ownCopy struct{ admission.Mutator }

// Mutate implements admission.Mutator.
func (m ownCopy) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	if r.Object != nil {
		r.Object = runtime.DeepCopyJSON(r.Object)
	}
	return m.Mutator.Mutate(ctx, r)
}

// profile is what the plugin declares, with what the operator overrides.
func (h *admissionHolder) profile(impl admission.Admission) (plugins.Profile, error) {
	d := impl.Declare()
	if err := d.Complete(); err != nil {
		return plugins.Profile{}, fmt.Errorf("declaration: %w", err)
	}
	spec := &h.supervisor.spec
	if i := h.supervisor.attached[protocol.PointAdmission]; i != nil {
		spec = &i.spec
	}
	if p := spec.Admission.FailurePolicy; p != "" {
		d.FailurePolicy = admission.FailurePolicy(p)
	}
	if t := spec.Admission.Timeout; t > 0 {
		d.Timeout = t
	}
	_, mutates := impl.(admission.Mutator)
	_, validates := impl.(admission.Validator)
	return plugins.Profile{Declaration: d, Mutates: mutates, Validates: validates, ExemptNamespaces: spec.Admission.ExemptNamespaces}, nil
}

// leave implements leaver.
func (h *admissionHolder) leave(forGood bool) {
	switch {
	case h.plugins() == nil:
	case forGood:
		h.lines.leave(h.plugins().Remove(h.supervisor.spec.Name))
	default:
		h.lines.leave(h.plugins().Detach(h.supervisor.spec.Name))
	}
}

func (h *admissionHolder) detach() {
	if h.plugins() != nil {
		h.plugins().Detach(h.supervisor.spec.Name)
		h.lines.closeAll()
	}
}

// drain implements drainer.
func (h *admissionHolder) drain(ctx context.Context) { h.lines.drain(ctx) }

func (h *admissionHolder) file() string {
	return filepath.Join(h.supervisor.host.config.Dir, "admission", h.supervisor.spec.Name)
}

func (h *admissionHolder) remember(p *plugins.Profile) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeFile(h.file(), raw)
}

// recall lets a plugin be missed that took part in an earlier life of the host.
func (h *admissionHolder) recall() {
	if h.plugins() == nil || h.supervisor.spec.Disabled {
		return
	}
	raw, err := os.ReadFile(h.file())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var p plugins.Profile
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err == nil {
		err = h.plugins().Expect(h.supervisor.spec.Name, p)
	}
	if err != nil {
		h.supervisor.log.Warn("requests do not wait for an admission plugin of an earlier run", "error", err)
	}
}

// passOver lets requests go on without the plugin, which is disabled.
func (h *admissionHolder) passOver() {
	if h.plugins() != nil {
		h.plugins().Remove(h.supervisor.spec.Name)
	}
}

// forget passes over the plugin from now on, as it is no longer in the catalogue.
func (h *admissionHolder) forget() error {
	if h.plugins() == nil {
		return nil
	}
	h.plugins().Remove(h.supervisor.spec.Name)
	if err := os.Remove(h.file()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// admission is the holder of a plugin's part in admission.
func (s *supervisor) admission() *admissionHolder {
	return s.holders[protocol.PointAdmission].(*admissionHolder)
}

// lines are the streams on which the lives of a plugin are called: the current one, and those
// whose calls have yet to end.
type lines struct {
	mu      sync.Mutex
	current *remote.Line
	before  []fading
}

type fading struct {
	line    *remote.Line
	drained <-chan struct{}
}

// noLine is that of a plugin that is linked in.
func noLine() *remote.Line { return &remote.Line{Gone: nil, Close: func() {}} }

// follow makes line the current one. drained is closed when the calls on the one before have
// ended. Its end is told to failed.
func (l *lines) follow(line *remote.Line, drained <-chan struct{}, failed chan<- error, what string) {
	l.mu.Lock()
	if l.current != nil {
		l.before = append(l.before, fading{l.current, drained})
	}
	l.current = line
	l.mu.Unlock()
	if line.Gone != nil {
		go func() {
			<-line.Gone
			failed <- errors.New(what)
		}()
	}
}

// leave makes the current line one of those before, whose calls have ended when drained is
// closed.
func (l *lines) leave(drained <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		l.before, l.current = append(l.before, fading{l.current, drained}), nil
	}
}

// drain ends the lines before the current one when their calls have ended, or with ctx.
func (l *lines) drain(ctx context.Context) {
	l.mu.Lock()
	before := l.before
	l.before = nil
	l.mu.Unlock()
	for _, b := range before {
		select {
		case <-b.drained:
		case <-ctx.Done():
		}
		b.line.Close()
	}
}

func (l *lines) closeAll() {
	l.mu.Lock()
	current, before := l.current, l.before
	l.current, l.before = nil, nil
	l.mu.Unlock()
	for _, b := range before {
		b.line.Close()
	}
	if current != nil {
		current.Close()
	}
}
