// Package volume makes the directories and files that containers mount: emptyDir,
// hostPath, configMap, secret, downwardAPI and projected volumes, and the parts of them
// that subPath selects. What is made from API objects is written so that a reader sees
// the old or the new files and never a mixture.
//
// Volumes of claims outlive their pods. What a claim is bound to is mounted once for each pod, by
// the storage that it is of, and remembered in a file, so that a later process unmounts it. A
// storage mounts at a place in a directory of its own, and what it has put there is bound into
// the pod: it may be the plugin of somebody who is trusted with nothing else.
//
// It does not watch anything: whoever calls Setup again brings the files up to date.
package volume
