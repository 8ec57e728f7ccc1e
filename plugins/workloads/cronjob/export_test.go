package cronjob

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
)

// Due is the last start that is due, zero if none is, and how long it is until the next.
func Due(cj *batchv1.CronJob, now time.Time) (time.Time, time.Duration, error) {
	schedule, err := parse(cj)
	if err != nil {
		return time.Time{}, 0, err
	}
	s, err := look(cj, schedule, now, true)
	return s.latest, untilNext(cj, schedule, now), err
}
