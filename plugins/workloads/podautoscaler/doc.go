// Package podautoscaler scales what HorizontalPodAutoscalers name, by the metrics that metrics
// servers report: of the pods' resources, of the pods, of other objects, or from outside. Where
// no such server is there, the conditions say so and nothing is scaled.
package podautoscaler
