// Package ttlafterfinished deletes Jobs some time after they have ended, if they ask for it
// with ttlSecondsAfterFinished.
package ttlafterfinished
