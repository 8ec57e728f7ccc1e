// Package image brings images onto the node: pull policies, credentials from pull
// secrets, back-off after failures, and collection of unused images when the disk fills
// up. How an image is fetched and kept is the driver's matter.
package image
