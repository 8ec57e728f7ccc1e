// Package resourcequota counts what ResourceQuotas limit and writes it to their status.
//
// Admission raises the usage before an object is written; this controller does the rest: it
// counts when a quota is new or changed, when something that a quota counts goes away, and
// now and then, since charged objects may never come to be. Only types that some quota names
// are watched, their objects are not kept, and what is counted is asked of the API server:
// while there is no quota, nothing is done but to watch for one.
//
// It must know nothing of how admission charges, but that it writes the same status.
package resourcequota
