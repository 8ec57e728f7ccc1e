package store

import (
	"errors"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// Alarm is something that an operator must look after.
type Alarm struct {
	Name string `json:"name"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
}

// Names of alarms.
const (
	// AlarmNoSpace: writes are refused. It ends by itself when there is room.
	AlarmNoSpace = "NoSpace"
	// AlarmDamaged: something that was read is not what was written. It ends with a restart,
	// which repairs or refuses.
	AlarmDamaged = "Damaged"
)

// Alarms lists what is wrong now.
func (s *Store) Alarms() []Alarm {
	var out []Alarm
	if err := s.room.check(false); err != nil {
		out = append(out, Alarm{AlarmNoSpace, err.Error()})
	}
	if d := s.damaged.Load(); d != nil {
		out = append(out, Alarm{AlarmDamaged, *d + "; restart this server: it is then filled again by the others, or tells what to do"})
	}
	return out
}

// noteDamage raises the alarm where an error of reading is about damage.
func (s *Store) noteDamage(err error) {
	if !errors.Is(err, engine.ErrDamaged) && !durable.IsDamage(err) {
		return
	}
	message := err.Error()
	if s.damaged.CompareAndSwap(nil, &message) {
		s.log.Error("Damage was found; what is damaged is not served", "error", err)
	}
}
