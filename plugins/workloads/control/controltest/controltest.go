// Package controltest runs controllers over client-go's fake clientset, in a bubble of
// virtual time (testing/synctest): a test changes objects, lets everything settle, and
// looks at what the controllers made of it.
package controltest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Runner is a controller.
type Runner interface {
	Run(ctx context.Context)
}

// Build makes the controllers that a test is about.
type Build func(kit control.Kit) ([]Runner, error)

// One makes of a controller's constructor what Run takes.
func One[R Runner](construct func(kit control.Kit) (R, error)) Build {
	return func(kit control.Kit) ([]Runner, error) {
		c, err := construct(kit)
		return []Runner{c}, err
	}
}

// All makes all that others make.
func All(builds ...Build) Build {
	return func(kit control.Kit) ([]Runner, error) {
		var out []Runner
		for _, build := range builds {
			runners, err := build(kit)
			if err != nil {
				return nil, err
			}
			out = append(out, runners...)
		}
		return out, nil
	}
}

// Env is what a test gets.
type Env struct {
	*testing.T
	// Ctx ends with the test.
	Ctx    context.Context
	Client *fake.Clientset

	mu     sync.Mutex
	events []string
}

// Settle waits until nothing moves any more at this moment of virtual time.
func (e *Env) Settle() { synctest.Wait() }

// Pass lets virtual time pass, and then everything settle.
func (e *Env) Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// SettleLate settles after a first look at what is watched only when it is needed: whoever
// waits for a first listing looks for it every 100 ms.
func (e *Env) SettleLate() { e.Pass(time.Second) }

// Events returns the events recorded so far, as "type reason message".
func (e *Env) Events() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.events...)
}

// Run runs the controllers that build makes over a fake API with some objects, and body
// when they have seen them.
func Run(t *testing.T, objects []runtime.Object, build Build, body func(e *Env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := fake.NewClientset(objects...)
		client.PrependReactor("create", "*", identify())
		e := &Env{T: t, Ctx: ctx, Client: client}
		kit := control.Kit{
			Client:    client,
			Informers: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(control.Trim)),
			Events:    func(string) record.EventRecorder { return (*recorder)(e) },
			Log:       slog.New(slog.DiscardHandler),
		}
		runners, err := build(kit)
		if err != nil {
			t.Fatal(err)
		}
		kit.Informers.StartWithContext(ctx)
		var wg sync.WaitGroup
		for _, r := range runners {
			wg.Go(func() { r.Run(ctx) })
		}
		defer kit.Informers.Shutdown()
		defer wg.Wait()
		defer cancel()
		e.SettleLate()
		body(e)
	})
}

// identify gives created objects the name and UID that a server would give them.
func identify() clienttesting.ReactionFunc {
	var mu sync.Mutex
	n := 0
	return func(action clienttesting.Action) (bool, runtime.Object, error) {
		m, err := meta.Accessor(action.(clienttesting.CreateAction).GetObject())
		if err != nil {
			return false, nil, nil
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		if m.GetName() == "" {
			m.SetName(fmt.Sprintf("%s%d", m.GetGenerateName(), n))
		}
		if m.GetUID() == "" {
			m.SetUID(types.UID(fmt.Sprintf("uid-%d", n)))
		}
		return false, nil, nil
	}
}

type recorder Env

var _ record.EventRecorder = (*recorder)(nil)

// Event satisfies record.EventRecorder.
func (r *recorder) Event(_ runtime.Object, kind, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, kind+" "+reason+" "+message)
}

// Eventf satisfies record.EventRecorder.
func (r *recorder) Eventf(o runtime.Object, kind, reason, format string, args ...any) {
	r.Event(o, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf satisfies record.EventRecorder.
func (r *recorder) AnnotatedEventf(o runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(o, kind, reason, format, args...)
}
