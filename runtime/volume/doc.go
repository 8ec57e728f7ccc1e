// Package volume makes the directories and files that containers mount: emptyDir,
// hostPath, configMap, secret, downwardAPI and projected volumes, and the parts of them
// that subPath selects. What is made from API objects is written so that a reader sees
// the old or the new files and never a mixture.
//
// It does not watch anything: whoever calls Setup again brings the files up to date.
package volume
