-- AlterTable
ALTER TABLE "quotes" ADD COLUMN     "code" TEXT;
