package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Reasons of the events on Plugin objects.
const (
	eventStarted    = "Started"
	eventDied       = "Died"
	eventPanicked   = "Panicked"
	eventOOMKilled  = "OOMKilled"
	eventDiskLimit  = "DiskLimit"
	eventHungKilled = "HungKilled"
	eventFailed     = "Failed"
	eventRefused    = "Refused"
	eventBackOff    = "BackOff"

	eventUpgraded       = "Upgraded"
	eventUpgradeRefused = "UpgradeRefused"
	eventRolledBack     = "RolledBack"
	eventPending        = "PermissionsPending"
	eventStopTimeout    = "StopTimeout"
	eventOpenSettings   = "SettingsInTheOpen"
)

const (
	eventTimeout = 10 * time.Second
	// maxEventNote bounds an event's text: the API refuses more than 1024 bytes.
	maxEventNote = 1000
)

// events tells the cluster what happens to plugins. client-go's recorder bounds their number:
// of one object, 25 at once and one more in five minutes, the same ones being counted in one.
// Where nothing happens there is no recorder.
type events struct {
	host *Host

	once        sync.Once
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// send records an event of a plugin's object.
func (e *events) send(object, kind, reason, note string) {
	config := &e.host.config
	if config.Client == nil {
		return
	}
	e.once.Do(func() {
		client, err := corev1client.NewForConfig(config.Client)
		if err != nil {
			config.Logger.Error("events of plugins", "error", err)
			return
		}
		objects, err := dynamic.NewForConfig(config.Client)
		if err != nil {
			config.Logger.Error("events of plugins", "error", err)
			return
		}
		name := config.Node
		if name == "" {
			name, _ = os.Hostname()
		}
		e.broadcaster = record.NewBroadcaster()
		e.broadcaster.StartRecordingToSink(&eventSink{
			EventSink: &corev1client.EventSinkImpl{Interface: client.Events("")}, objects: objects.Resource(Resource()),
		})
		e.recorder = e.broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: "pintle-plugin-host", Host: name})
	})
	if e.recorder == nil {
		return
	}
	if len(note) > maxEventNote {
		note = note[:maxEventNote] + "…"
	}
	e.recorder.Event(&corev1.ObjectReference{APIVersion: Group + "/" + Version, Kind: Kind, Name: object}, kind, reason, note)
}

// close ends the recorder.
func (e *events) close() {
	e.once.Do(func() {})
	if e.broadcaster != nil {
		e.broadcaster.Shutdown()
	}
}

// eventSink completes events by their object's UID, by which kubectl describe finds them.
type eventSink struct {
	record.EventSink
	objects dynamic.ResourceInterface
}

// Create implements record.EventSink.
func (s *eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	if o, err := s.objects.Get(ctx, event.InvolvedObject.Name, metav1.GetOptions{}); err == nil {
		event.InvolvedObject.UID = o.GetUID()
	}
	return s.EventSink.Create(event) //nolint:wrapcheck // the recorder looks at its kind
}

// tellStarted says that a plugin works, where that is news: first-party ones start with their
// server.
func (s *supervisor) tellStarted() {
	st := s.snapshot()
	if s.spec.FirstParty() && st.Restarts == 0 {
		return
	}
	note := fmt.Sprintf("Version %s works", st.Version)
	if st.PID > 0 {
		note += fmt.Sprintf(", as process %d", st.PID)
	}
	s.host.events.send(st.Object, corev1.EventTypeNormal, eventStarted, note)
}

// tellTakeOver says that an instance has taken over from another.
func (s *supervisor) tellTakeOver(before, after *Status) {
	what := fmt.Sprintf("ersion %s has taken over from version %s", after.Version, before.Version)
	if after.Version == before.Version {
		what = fmt.Sprintf("ersion %s goes on as process %d", after.Version, after.PID)
		if after.SHA256 != before.SHA256 {
			what += ", from another binary"
		}
	}
	s.out.note("v%s", what)
	s.tell(corev1.EventTypeNormal, eventUpgraded, "V"+what)
}

// tellPending says that a plugin asks for more than it was granted.
func (s *supervisor) tellPending(rules int, machine []string) {
	if rules > 0 {
		s.tell(corev1.EventTypeWarning, eventPending, fmt.Sprintf("It asks for permissions that nobody has granted, %d rules: see its status", rules))
	}
	if len(machine) > 0 {
		s.tell(corev1.EventTypeWarning, eventPending, "It asks for what nobody has given it of the machine: "+strings.Join(machine, "; "))
	}
}

// tell records an event of the plugin's object.
func (s *supervisor) tell(kind, reason, note string) {
	s.host.events.send(s.snapshot().Object, kind, reason, note)
}

// tellEnd says why a session has ended, and what comes next.
func (s *supervisor) tellEnd(err error, failures int, delay time.Duration) {
	if wasAsked(err) {
		return
	}
	st := s.snapshot()
	s.host.events.send(st.Object, corev1.EventTypeWarning, endReason(err, &st), err.Error())
	if failures == s.host.config.Backoff.Open && !isRefused(err) {
		s.host.events.send(st.Object, corev1.EventTypeWarning, eventBackOff,
			fmt.Sprintf("Failed %d times in a row; the next start is in %s, and each one is a trial", failures, delay))
	}
}

// endReason is the kind of a session's end.
func endReason(err error, st *Status) string {
	var hung *hungError
	var dead *deadError
	switch {
	case isRefused(err):
		return eventRefused
	case errors.As(err, &hung):
		return eventHungKilled
	case !errors.As(err, &dead):
		return eventFailed
	case dead.exit != nil && dead.exit.MemoryLimit > 0:
		return eventOOMKilled
	case dead.exit != nil && dead.exit.DiskLimit > 0:
		return eventDiskLimit
	case st.Panic != "":
		return eventPanicked
	default:
		return eventDied
	}
}
