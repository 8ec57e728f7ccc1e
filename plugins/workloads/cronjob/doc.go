// Package cronjob makes Jobs at the times of CronJobs' schedules, keeps which of them run in
// the status, and deletes the oldest of those that have ended.
//
// A Job's name says for which minute it was made, so that it can't be made twice.
package cronjob
