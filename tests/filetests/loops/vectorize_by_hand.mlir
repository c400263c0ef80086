// What varies is a vector, what does not stays scalar, and an address that steps by one is a vector load.
// run: vectorize
module {
  func.func @f(%x: memref<?xf32>, %y: memref<?xf32>, %s: f32, %row: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c64 = arith.constant 64 : index
    %first = arith.muli %row, %c64 : index
    scf.for %i = %c0 to %c64 step %c1 {
      %at = arith.addi %first, %i : index
      %a = memref.load %x[%at] : memref<?xf32>
      %b = arith.mulf %a, %s : f32
      memref.store %b, %y[%at] : memref<?xf32>
      scf.yield
    } {tdsl.vector}
    func.return
  }
}
// expect:
// module {
//   func.func @f(%x: memref<?xf32>, %y: memref<?xf32>, %s: f32, %row: index) {
//     %c0 = arith.constant 0 : index
//     %c1 = arith.constant 1 : index
//     %c64 = arith.constant 64 : index
//     %first = arith.muli %row, %c64 : index
//     %c64_1 = arith.constant 64 : index
//     scf.for %i = %c0 to %c64_1 step %c64_1 {
//       %c0_1 = arith.constant 0 : index
//       %0 = arith.addi %first, %i : index
//       %1 = vector.load %x[%0] : memref<?xf32>, vector<16xf32>
//       %2 = vector.broadcast %s : f32 to vector<16xf32>
//       %3 = arith.mulf %1, %2 : vector<16xf32>
//       vector.store %3, %y[%0] : memref<?xf32>, vector<16xf32>
//       %c16 = arith.constant 16 : index
//       %4 = arith.addi %i, %c16 : index
//       %5 = arith.addi %first, %4 : index
//       %6 = vector.load %x[%5] : memref<?xf32>, vector<16xf32>
//       %7 = vector.broadcast %s : f32 to vector<16xf32>
//       %8 = arith.mulf %6, %7 : vector<16xf32>
//       vector.store %8, %y[%5] : memref<?xf32>, vector<16xf32>
//       %c32 = arith.constant 32 : index
//       %9 = arith.addi %i, %c32 : index
//       %10 = arith.addi %first, %9 : index
//       %11 = vector.load %x[%10] : memref<?xf32>, vector<16xf32>
//       %12 = vector.broadcast %s : f32 to vector<16xf32>
//       %13 = arith.mulf %11, %12 : vector<16xf32>
//       vector.store %13, %y[%10] : memref<?xf32>, vector<16xf32>
//       %c48 = arith.constant 48 : index
//       %14 = arith.addi %i, %c48 : index
//       %15 = arith.addi %first, %14 : index
//       %16 = vector.load %x[%15] : memref<?xf32>, vector<16xf32>
//       %17 = vector.broadcast %s : f32 to vector<16xf32>
//       %18 = arith.mulf %16, %17 : vector<16xf32>
//       vector.store %18, %y[%15] : memref<?xf32>, vector<16xf32>
//       scf.yield
//     }
//     func.return
//   }
// }
