package scheduler

import "github.com/pintle-dev/pintle/plugins/scheduler/extend"

// Extend makes the scheduler find extensions in a directory.
func (s *Scheduler) Extend(d extend.Directory) { s.directory = d }
