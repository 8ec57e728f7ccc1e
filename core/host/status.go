package host

import (
	"fmt"
	"os"
	"syscall"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Health is how a plugin is.
type Health string

// The healths of a plugin.
const (
	// HealthPending: not started yet.
	HealthPending Health = "Pending"
	// HealthStarting: launched, not yet doing its work.
	HealthStarting Health = "Starting"
	// HealthStandby: ready to work when this host leads.
	HealthStandby Health = "Standby"
	// HealthHealthy: working, and answering health checks.
	HealthHealthy Health = "Healthy"
	// HealthUnhealthy: running, but the last health check was not answered.
	HealthUnhealthy Health = "Unhealthy"
	// HealthBackOff: it died and waits for its next start.
	HealthBackOff Health = "BackOff"
	// HealthRefused: something is wrong that trying again does not heal (its entry, its
	// binary, its settings). It is not started again unless a restart is asked for.
	HealthRefused Health = "Refused"
	// HealthStopped: stopped with the host.
	HealthStopped Health = "Stopped"
	// HealthDisabled: its entry says not to run it.
	HealthDisabled Health = "Disabled"
)

// Status is what a host knows about one plugin.
type Status struct {
	// Object is the name of its Plugin object.
	Object, Name, Version, Description string
	Placement                          Placement
	Points                             []protocol.Point
	// PID of its process, 0 where there is none.
	PID    int
	Health Health
	// Restarts counts starts after the first.
	Restarts int
	// Reason says why it is not healthy, or why it was last restarted.
	Reason string
	// Circuit is Open after too many failures in a row.
	Circuit Circuit
	// NextStart is when a plugin in back-off is started again.
	NextStart time.Time
	StartedAt time.Time
	// LastExit is how the last process ended, LastReason why the last session did.
	LastExit   *Exit
	LastReason string
	// LastOutput are the last lines before the last exit; Panic is the text of a panic
	// before it.
	LastOutput []string
	Panic      string
	// LogFile holds all it has written, bounded in size.
	LogFile string
	// UserID of its process, and how that is confined; NotConfined are the measures that
	// this machine does not allow, each with the reason.
	UserID                uint32
	Confined, NotConfined []string
	// Requested permissions, and those that were granted.
	Requested, Granted []rbacv1.PolicyRule
	// PendingPermissions are those that it asks for and nobody has granted.
	PendingPermissions []rbacv1.PolicyRule
	// Uses are the points of other plugins that it may call, PendingUses those that it asks for
	// and nobody has granted.
	Uses, PendingUses []protocol.Point
	// Requires are the plugins that have to run before it.
	Requires []manifest.Requirement
	// PendingMachine are the files and privileges that it asks for and nobody has granted.
	PendingMachine []string
	// SHA256 of the binary that runs, Digest of the artifact that it came in, and the key
	// that signed that.
	SHA256, Digest, SignedBy string
	// Types are the resource types that are its, as PLURAL.GROUP.
	Types []string
	// ObservedGeneration is that of the Plugin object whose spec is carried out.
	ObservedGeneration int64
	Conditions         []Condition
	// History of its revisions, the oldest first.
	History []Revision

	// Calls to the plugin and how many of them failed, since the host started.
	Calls, Errors int64
	// MemoryBytes are those that its processes hold now.
	MemoryBytes int64
	// CPUSeconds that its processes have used, since the host started.
	CPUSeconds float64
}

// Exit is how a process ended.
type Exit struct {
	At time.Time
	// Code is the exit status, or -1 where a signal ended it.
	Code int
	// Signal is the name of the signal that ended it, such as "killed", or empty.
	Signal string
	// MemoryLimit in bytes is set where it was killed for wanting more.
	MemoryLimit int64
	// DiskLimit in bytes is set where it was killed for keeping more on the disk.
	DiskLimit int64

	cpu time.Duration // that it took
}

func (e Exit) String() string {
	if e.MemoryLimit > 0 {
		return "killed by its memory limit of " + mebibytes(e.MemoryLimit)
	}
	if e.DiskLimit > 0 {
		return "killed, as it kept more than its limit of " + mebibytes(e.DiskLimit) + " on the disk"
	}
	if e.Signal != "" {
		return "signal: " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

func exitOf(state *os.ProcessState, at time.Time) *Exit {
	e := &Exit{At: at, Code: state.ExitCode(), cpu: state.UserTime() + state.SystemTime()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal().String()
	}
	return e
}
