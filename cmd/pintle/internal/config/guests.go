package config

import (
	"errors"
	"fmt"
	"math"
)

// Guests bounds plugins of third parties, each of which runs as a user of its own.
type Guests struct {
	// FirstUser is the first of the user ids that they have, which are group ids too; 0 is
	// 1,900,000,000. Ids in the range must be nobody else's on the machine.
	FirstUser uint32 `json:"firstUser"`
	// Users is how many ids there are; 0 is 1,000,000.
	Users uint32 `json:"users"`
	// Memory, MilliCPU (thousandths of a core) and Processes (threads counting) are the
	// limits of a plugin whose own say nothing; 0 is 512 MiB, a quarter of the machine's cores,
	// and 256.
	Memory    Bytes `json:"memory"`
	MilliCPU  int64 `json:"milliCPU"`
	Processes int64 `json:"processes"`
}

func (g *Guests) validate() error {
	switch {
	case g.FirstUser != 0 && g.FirstUser < 1000:
		return fmt.Errorf("guests.firstUser: %d is a system user's", g.FirstUser)
	case uint64(g.FirstUser)+uint64(g.Users) > math.MaxInt32:
		return fmt.Errorf("guests.users: ids up to %d are more than the system has", uint64(g.FirstUser)+uint64(g.Users))
	case g.Memory < 0 || g.MilliCPU < 0 || g.Processes < 0:
		return errors.New("guests: limits can't be negative")
	}
	return nil
}
