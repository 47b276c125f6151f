# What deploy/sizes/medium.yaml stands on. Put your own names in.
region           = "eu-central-1"
cluster          = "plant"
private_subnets  = ["subnet-a", "subnet-b"]
node_role_arn    = "arn:aws:iam::123456789012:role/plant-nodes"
bucket           = "plant-insource-backups"
gateway_machine  = "c7i.xlarge"
gateway_machines = 3
gpu_machine      = "g6.xlarge"
gpu_machines     = 1
