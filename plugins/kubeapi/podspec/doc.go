// Package podspec has what pods and pod templates share: the defaults of a pod spec that
// depend on its other fields, and its validation with upstream's paths and reasons. It
// works on trees and makes nothing for what is right, since it runs for every pod created.
//
// It must know nothing of pods' status, admission, or of the kinds that have templates.
package podspec
