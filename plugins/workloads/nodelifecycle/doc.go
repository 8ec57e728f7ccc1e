// Package nodelifecycle watches over nodes: one that is silent for too long gets the
// conditions Unknown, conditions become taints that keep pods away, and pods that do not
// tolerate a NoExecute taint are deleted, those of a dead node after the time that their
// tolerations allow.
package nodelifecycle
