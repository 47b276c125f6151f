output "database_host" {
  description = "For INSOURCE_STORE_URL: postgresql://insource:PASSWORD@HOST/insource?sslmode=verify-full, with database_password. store.ca of the chart is AWS's global-bundle.pem."
  value       = aws_db_instance.database.address
}

output "state_file_system" {
  description = "For the storage class of state.storageClass (efs.csi.aws.com)."
  value       = aws_efs_file_system.state.id
}

output "backups" {
  description = "The bucket for backups."
  value       = aws_s3_bucket.backups.bucket
}
