// Package deployment carries out Deployments: for each pod template it has one
// ReplicaSet, moves replicas from the old ones to the new one as the strategy says, keeps
// the history that kubectl rolls back to, and reports progress in the status.
package deployment
