// Command troupe serves large language models.
package main

func main() {}
