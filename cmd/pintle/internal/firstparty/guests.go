package firstparty

import (
	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/host/confine"
)

// GuestUsers is the range that plugins of third parties have their users from.
func GuestUsers(g config.Guests) confine.Range {
	return confine.Range{First: g.FirstUser, Count: g.Users}
}

// GuestLimits are those of plugins of third parties whose own say nothing.
func GuestLimits(g config.Guests) host.Limits {
	return host.Limits{MemoryBytes: int64(g.Memory), MilliCPU: g.MilliCPU, Processes: g.Processes}
}
