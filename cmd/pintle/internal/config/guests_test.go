package config

import (
	"strings"
	"testing"
)

func TestGuests(t *testing.T) {
	for want, g := range map[string]Guests{
		"": {FirstUser: 200_000, Users: 1000, Memory: 64 << 20},
		"guests.firstUser: 33 is a system user's": {FirstUser: 33},
		"guests.users: ids up to 4000000000":      {FirstUser: 2_000_000_000, Users: 2_000_000_000},
		"guests: limits can't be negative":        {Processes: -1},
	} {
		err := g.validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, not %q", g, err, want)
		}
	}
}
